"""What is said on the command line: changes to a job, and candidates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.jobfile.document import parse, read
from workers.errors import UserError
from workers.trial import Json

if TYPE_CHECKING:
    from nas.job import Job


BARE = {"journal": "place", "artifacts": "place"}  # what a bare text stands for; elsewhere it is a plugin's name


def load(path: Path, changes: Sequence[str] = (), place: str | None = None) -> Job:
    """The job in a file, with `changes` (KEY=VALUE) and the place of its journal laid over it; mistakes are errors."""
    from nas.job import Job

    wanted = nested(changes)
    if place is not None:
        wanted = merged(wanted, {"journal": {"place": place}})
    if not wanted:
        return Job.load(path)
    values = read(path).values
    return Job.parse({"name": path.stem, "folder": str(path.resolve().parent), **merged(values, wanted)})


def nested(changes: Sequence[str]) -> dict[str, Json]:
    """`["budget.trials=5"] -> {"budget": {"trials": 5}}`."""
    found: dict[str, Json] = {}
    for text in changes:
        key, value = pair(text)
        *way, last = key.split(".")
        place = found
        for step in way:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise UserError(f"{key} cannot be set beside {step}: set one of them")
        if isinstance(place.get(last), dict):
            raise UserError(f"{key} cannot be set beside its own parts: set one of them")
        place[last] = value
    return found


def pair(text: str) -> tuple[str, Json]:
    """`budget.trials=5 -> ("budget.trials", 5)`; the value is read as YAML."""
    key, sign, written = text.partition("=")
    key = key.strip()
    if not sign or not all(key.split(".")):
        raise UserError(f"{text!r} must be KEY=VALUE, such as budget.trials=50")
    return key, parse(f"value: {written}", f"the value in {text!r}").values["value"]


def merged(base: Json, changes: Json, bare: str = "name") -> Json:
    """`base` with `changes` laid over it, key by key; text where a mapping is needed becomes its key `bare`."""
    if not isinstance(changes, Mapping):
        return changes
    if isinstance(base, str):
        base = {bare: base}
    if not isinstance(base, Mapping):
        base = {}
    laid = {key: merged(base.get(key), value, BARE.get(key, "name")) for key, value in changes.items()}
    return {**base, **laid}


def bytes_of(text: str) -> int:
    """`20 GB` as a number of bytes, by the rule of a job's `artifacts.quota`."""
    from pydantic import ValidationError

    from nas.jobfile.parts import ArtifactPlace

    try:
        quota = ArtifactPlace.model_validate({"quota": int(text) if text.isdigit() else text}).quota
    except ValidationError:
        quota = None
    if quota is None:
        raise UserError(f"{text!r} must be a number of bytes above 0, such as 500 MB or 20 GiB")
    return quota


def candidate(given: Sequence[str]) -> dict[str, Json]:
    """A candidate as it was typed: one JSON file, or all its decisions as KEY=VALUE."""
    if len(given) == 1 and "=" not in given[0]:
        return candidate_file(Path(given[0]))
    values: dict[str, Json] = {}
    for text in given:
        key, value = pair(text)
        if key in values:
            raise UserError(f"{key} is given twice: leave one out")
        values[key] = value
    return values


def candidate_file(path: Path) -> dict[str, Json]:
    """The candidate in a JSON file: its decisions, a record that holds them under `candidate`, or a list of that one.

    `nas best --json` prints such a list.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is no JSON: {error}") from None
    if isinstance(record, list):
        if len(record) != 1:
            raise UserError(f"{path} holds a list of {len(record)}, but one candidate is needed: keep one of them")
        record = record[0]
    found = record.get("candidate", record) if isinstance(record, dict) else record
    if not isinstance(found, dict):
        raise UserError(f"{path} holds {type(found).__name__}, but must hold a mapping of decisions to values")
    return found
