"""The parts of a job file: a plugin with its options, what is wanted, what may be spent, where things are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from nas.jobfile.mistakes import Mistake, nearest, shown
from workers.objectives import Direction, Objective
from workers.plugins import Spec
from workers.redaction import redacted, secrets
from workers.size import parsed
from workers.trial import Json

USUAL = {"accuracy": Direction.MAXIMIZE, "loss": Direction.MINIMIZE}  # of a task that does not say
TIMES = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}

Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def spec(value: object) -> Spec:
    """The plugin that a name, or a mapping with a name and options, stands for."""
    if isinstance(value, Spec):
        return value
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or not value["name"]:
        raise ValueError(f"is {shown(value)}, but must be a name, or a mapping with a name: {{name: ..., option: ...}}")
    return Spec(value["name"], {key: option for key, option in value.items() if key != "name"})


def _flat(plugin: Spec) -> Json:
    return {"name": plugin.name, **plugin.options} if plugin.options else plugin.name


def _bytes(value: object) -> object:
    """`20 GB` as bytes; what is no text is left to the rule of the key."""
    return parsed(value) if isinstance(value, str) else value


def _place(value: object) -> object:
    return {"place": value} if isinstance(value, str) else value


def _open(place: str) -> str:
    """A place of artifacts, which every process reads from the journal: without secrets."""
    if secrets(place):
        kind = place.partition("://")[0].upper()
        raise ValueError(
            f"is {redacted(place)}, and everybody who reads the journal would read its password: leave it out, and set "
            f"the environment variable FSSPEC_{kind}_PASSWORD (or what fsspec calls it) for driver and workers"
        )
    return place


def _shared(value: object) -> object:
    return {"sharing": value} if isinstance(value, str) else value


def listed(value: Any) -> Any:
    """What a key lists; one alone stands for a list of it."""
    return (value,) if isinstance(value, str | Mapping) else tuple(value) if isinstance(value, list) else value


def _earlier(value: object) -> object:
    """`PLACE/ID` or `ID` as a search and its journal; the path of a journal's file is as good."""
    if not isinstance(value, str):
        return value
    place, _, search = value.removesuffix("/").removesuffix("/journal.sqlite").rpartition("/")
    return {"search": search, "journal": place or None}


def _goal(value: object) -> object:
    return {"metric": value} if isinstance(value, str) else value


Plugin: TypeAlias = Annotated[Spec, PlainValidator(spec), PlainSerializer(_flat)]
Plugins: TypeAlias = Annotated[tuple[Plugin, ...], BeforeValidator(listed)]


class Part(BaseModel):
    """Keys of a job file that belong together; a key that it does not have is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@final
class Goal(Part):
    """A metric to optimise; known metrics need no direction."""

    metric: str
    direction: Direction | None = None


@final
class Ceiling(Part):
    """The largest value of a metric that is feasible."""

    max: Annotated[Number, Field(gt=0)]


@final
class Spending(Part):
    """What the search may spend: `trials`, `epochs` of training in all, wall time (`hours`, `minutes`, `seconds`).

    `target` ends it when a full trial has that value of the first objective, or a better one. `trial_seconds` is the
    longest that one trial may take; a retraining for more epochs gets as many times more.
    """

    trials: Annotated[Whole, Field(ge=1)] | None = None
    epochs: Annotated[Whole, Field(ge=1)] | None = None
    seconds: Annotated[Number, Field(gt=0)] | None = None
    target: Number | None = None
    trial_seconds: Annotated[Number, Field(gt=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _time(cls, value: object) -> object:
        """Hours and minutes as seconds, where all of them are numbers."""
        if not isinstance(value, Mapping) or not {"hours", "minutes"} & set(value):
            return value
        given = {name: value[name] for name in TIMES if value.get(name) is not None}
        for name, amount in given.items():
            if isinstance(amount, bool) or not isinstance(amount, int | float):
                raise ValueError(f"{name} is {shown(amount)}, but must be a number")
            if not 0 < amount < float("inf"):
                raise ValueError(f"{name} is {amount}, but must be more than 0")
        rest = {name: amount for name, amount in value.items() if name not in TIMES}
        return {**rest, "seconds": sum(TIMES[name] * amount for name, amount in given.items())}

    @staticmethod
    def merged(before: Mapping[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
        """`before` with `changes`; a new time takes the place of the old one, in whatever unit."""
        timed = not set(TIMES).isdisjoint(changes)
        return {**{name: v for name, v in before.items() if not (timed and name in TIMES)}, **changes}

    @model_validator(mode="after")
    def _limited(self) -> Spending:
        if self.trials is None and self.epochs is None and self.seconds is None:
            raise ValueError("has no limit: give trials, epochs, hours, minutes or seconds")
        return self


@final
class Retraining(Part):
    """The `top` best candidates are trained again with `seeds` seeds for `epochs`; null epochs are the search's."""

    top: Annotated[Whole, Field(ge=0)] = 1
    seeds: Annotated[Whole, Field(ge=1)] = 1
    epochs: Annotated[Whole, Field(ge=1)] | None = None


@final
class JournalPlace(Part):
    """Where the journal is (a folder or postgresql://...), and whether a commit survives a loss of power."""

    place: str | None = None
    durability: Literal["normal", "full"] = "normal"


@final
class ArtifactPlace(Part):
    """Where checkpoints are kept (a folder or an fsspec URL), and how many bytes they may take."""

    place: Annotated[str, AfterValidator(_open)] | None = None
    quota: Annotated[Whole, Field(gt=0), BeforeValidator(_bytes)] | None = None


@final
class Weights(Part):
    """Whether every child has weights of its own, or all are parts of one network and share its weights.

    Shared ones are trained by the mean gradient over `children` architectures: a trial's own, and others drawn from the
    space. At the end the `rescore` best candidates are scored again with the weights as they are then.
    """

    sharing: Literal["own", "shared"] = "own"
    children: Annotated[Whole, Field(ge=1)] = 4
    rescore: Annotated[Whole, Field(ge=1)] = 10

    @property
    def shared(self) -> bool:
        return self.sharing == "shared"


@final
class Earlier(Part):
    """A search to begin from: its id, the journal it is in (null: this job's), how many of its best are tried again."""

    search: str
    journal: str | None = None
    again: Annotated[Whole, Field(ge=0)] = 1


Goals: TypeAlias = Annotated[tuple[Annotated[Goal, BeforeValidator(_goal)], ...], BeforeValidator(listed)]
Begun: TypeAlias = Annotated[tuple[Annotated[Earlier, BeforeValidator(_earlier)], ...], BeforeValidator(listed)]
Shared: TypeAlias = Annotated[Weights, BeforeValidator(_shared)]
Journaled: TypeAlias = Annotated[JournalPlace, BeforeValidator(_place)]
Kept: TypeAlias = Annotated[ArtifactPlace, BeforeValidator(_place)]


def objectives_of(
    goals: Sequence[Goal], known: Mapping[str, Direction], own: bool
) -> tuple[list[Objective], list[Mistake]]:
    """The objectives with their directions, and what is wrong with them.

    `known` has the direction of every metric that there will be; a task from outside (`own`) may yield others, too,
    whose direction the job then says.
    """
    found: list[Objective] = []
    mistakes: list[Mistake] = []
    for index, goal in enumerate(goals):
        direction = goal.direction or known.get(goal.metric) or (USUAL.get(goal.metric) if own else None)
        place = ("objectives", index)
        if goal.metric not in known and not (own and direction):
            rest = f", or say which way it is better: {{metric: {goal.metric}, direction: maximize}}" if own else ""
            text = f"{goal.metric!r} is no metric of this task: {nearest(goal.metric, known)}{rest}"
            mistakes.append(Mistake(place, text))
        elif any(objective.metric == goal.metric for objective in found):
            mistakes.append(Mistake(place, f"{goal.metric} stands twice among the objectives: keep it once"))
        elif direction is not None:
            found.append(Objective(goal.metric, direction))
    return found, mistakes
