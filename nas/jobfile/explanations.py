"""What pydantic finds wrong in a job, as the value, the rule and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nas.jobfile.document import Place
from nas.jobfile.mistakes import Mistake, dotted, nearest, rule, shown
from nas.jobfile.parts import ArtifactPlace, Ceiling, Earlier, Goal, JournalPlace, Part, Retraining, Spending, Weights

_PARTS: Mapping[str, tuple[type[Part], str]] = {
    "budget": (Spending, "the budget"),
    "final": (Retraining, "final"),
    "journal": (JournalPlace, "the journal"),
    "artifacts": (ArtifactPlace, "artifacts"),
    "objectives": (Goal, "an objective"),
    "constraints": (Ceiling, "a constraint"),
    "warm_start": (Earlier, "an earlier search"),
    "weights": (Weights, "weights"),
}
_EXAMPLES = {  # by the key of the job
    "task": "task: {name: image_classification, dataset: digits}",
    "budget": "budget: {trials: 40}",
    "final": "final: {top: 3, seeds: 2}",
    "weights": "weights: shared",
    "warm_start": "warm_start: [cells-1, searches/cells-2]",
    "constraints": "constraints: {parameters: {max: 500000}}",
    "objectives": "objectives: [accuracy, {metric: parameters, direction: minimize}]",
}


def mistake(error: Mapping[str, Any], keys: Iterable[str]) -> Mistake:
    """One error of pydantic as the value, the rule and the remedy."""
    place: Place = tuple(part for part in error["loc"] if not str(part).startswith("function-"))
    kind, value = error["type"], error.get("input")
    name = dotted(place) or "the job"
    if kind == "extra_forbidden":
        return Mistake(place, _unknown(place, keys))
    example = f": write for example {_EXAMPLES[str(place[0])]}" if place and str(place[0]) in _EXAMPLES else ""
    if kind == "missing":
        return Mistake(place, f"{name} is missing{example}")
    if kind == "value_error":
        text = str(error["ctx"]["error"])
        inside = text.split(" ")[0] in ("hours", "minutes", "seconds")
        return Mistake(place, f"{name}.{text}" if inside else f"{name} {text}")
    text = f"{name} is {shown(value)}, but {rule(error)}"
    return Mistake(place, text + example if kind.endswith("_type") else text)


def _unknown(place: Place, keys: Iterable[str]) -> str:
    """The message for a key that does not exist: the nearest right one, or where it belongs."""
    key = str(place[-1])
    if len(place) > 1:
        part, what = _PARTS[str(place[0])]
        return f"{key!r} is no key of {what}: {nearest(key, _keys(part))}"
    for name, (part, _) in _PARTS.items():
        if key in _keys(part):
            return f"{key!r} is no key of a job, but of {name}: write {name}: {{{key}: ...}}"
    return f"{key!r} is no key of a job: {nearest(key, [one for one in keys if one != 'folder'])}"


def _keys(part: type[Part]) -> list[str]:
    return [*part.model_fields, *(("hours", "minutes") if part is Spending else ())]
