"""Job: what a user asks for, read from a YAML file and checked in every detail before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, final

from pydantic import Field, ValidationError, model_validator

from nas.jobfile.document import Document, read
from nas.jobfile.explanations import mistake
from nas.jobfile.mistakes import Mistake, refuse
from nas.jobfile.parts import (
    ArtifactPlace,
    Begun,
    Ceiling,
    Goals,
    Journaled,
    JournalPlace,
    Kept,
    Number,
    Part,
    Plugin,
    Plugins,
    Retraining,
    Shared,
    Spending,
    Weights,
    Whole,
    listed,
    spec,
)
from nas.jobfile.plugins import check_plugins
from workers.plugins import Spec
from workers.trial import Json

BASELINE = 0.2  # of the epochs
CHANGEABLE = ("budget", "pool", "final")


@final
class Job(Part):
    """A search, as a user writes it down. `json` gives what `parse` reads again.

    `baseline` is random search's share of the epochs, for a comparison at equal numbers; `retries` says how often a
    trial that failed is tried again; `warm_start` names earlier searches to begin from; `watch` lists who is told of it
    while it runs; `folder` is where the user's own modules are, the job file's unless it says otherwise.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "search"
    task: Plugin
    space: Plugin | None = None
    strategy: Plugin = Spec("surrogate")
    objectives: Goals = ()
    constraints: dict[str, Ceiling] = Field(default_factory=dict)
    budget: Spending = Spending(trials=20)
    weights: Shared = Weights()
    pool: Plugin = Spec("local")
    baseline: Annotated[Number, Field(ge=0, lt=1)] = BASELINE
    retries: Annotated[Whole, Field(ge=0)] = 0
    warm_start: Begun = ()
    final: Retraining = Retraining()
    journal: Journaled = JournalPlace()
    artifacts: Kept = ArtifactPlace()
    watch: Plugins = (Spec("metrics"),)
    seed: Annotated[Whole, Field(ge=0)] = 0
    folder: str = ""

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, value: object) -> object:
        """Random search has no baseline beside it, and without a space there is no network to train again.

        Several objectives need a strategy for several.
        """
        if not isinstance(value, Mapping):
            return value
        strategy = value.get("strategy")
        name = strategy.get("name") if isinstance(strategy, Mapping) else strategy
        usual: dict[str, Json] = {"baseline": 0.0} if name == "random" else {}
        goals = value.get("objectives")
        if isinstance(goals, list | tuple) and len(goals) > 1:
            usual["strategy"] = "evolution"
        if value.get("space") is None:
            usual["final"] = {"top": 0}
        return {**usual, **value}

    @classmethod
    def load(cls, path: str | Path) -> Job:
        """The job in a YAML file, its modules looked for beside it first; `UserError` lists every mistake."""
        path = Path(path)
        document = read(path)
        named = {"name": path.stem, **document.values} if _plain_name(path.stem) else document.values
        return cls._checked(Document({"folder": str(path.resolve().parent), **named}, document.name, document.lines))

    @classmethod
    def parse(cls, values: Mapping[str, Json]) -> Job:
        """The job that a mapping describes; `UserError` lists every mistake."""
        return cls._checked(Document(values))

    def json(self) -> dict[str, Json]:  # type: ignore[override]
        """Everything as plain JSON, defaults included: what the journal keeps."""
        return self.model_dump(mode="json")

    def changed(self, overrides: Mapping[str, Json]) -> Job:
        """This job with some keys of `budget`, `pool` and `final` changed: all that a search may change under way."""
        fixed = [key for key in overrides if key not in CHANGEABLE]
        rule = f"cannot change once a search exists, only {', '.join(CHANGEABLE)} can: write a new job for it"
        refuse(Document(overrides, "the change"), [Mistake((key,), f"{key} {rule}") for key in fixed])
        record = self.json()
        for key, value in overrides.items():
            record[key] = _merged(record[key], value)
        return Job.parse(record)

    @property
    def place(self) -> str | None:
        """Where the journal is kept, if the job says so."""
        return self.journal.place

    @classmethod
    def _checked(cls, document: Document) -> Job:
        try:
            job = cls.model_validate(dict(document.values))
        except ValidationError as failure:
            found = [mistake(error, cls.model_fields) for error in failure.errors(include_url=False)]
            refuse(document, found + check_plugins(_readable(document.values), str(document.values.get("folder", ""))))
            raise AssertionError("a validation error lists no mistake") from None
        refuse(document, check_plugins(dict(job), job.folder))
        return job


def _readable(values: Mapping[str, Json]) -> dict[str, Spec | tuple[Spec, ...]]:
    """The plugins of a job that is wrong elsewhere."""
    found: dict[str, Spec | tuple[Spec, ...]] = {}
    for key in ("task", "space", "strategy", "pool"):
        with suppress(ValueError):
            found[key] = spec(values.get(key))
    with suppress(ValueError, TypeError):
        found["watch"] = tuple(spec(one) for one in listed(values.get("watch", ())))
    return found


def _merged(before: Json, changes: Json) -> Json:
    """One key of a job with changes; options of another plugin are not kept."""
    if not isinstance(changes, Mapping):
        return changes
    before = {"name": before} if isinstance(before, str) else before
    if "name" in changes and changes["name"] != before.get("name"):
        return changes
    return Spending.merged(before, changes)


def _plain_name(name: str) -> bool:
    return bool(name) and len(name) <= 64 and name[0].isalnum() and all(c.isalnum() or c in "._-" for c in name)
