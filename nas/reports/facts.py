"""Facts: what a report says of a search, computed from its journal alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from nas.epochs import Epochs
from nas.history import History, TrialRecord
from nas.ranking import front
from nas.winner import tested
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Json

OWN = ("strategy", "enqueued")  # the arms of the search itself; `baseline` is the other


@final
@dataclass(frozen=True)
class Race:
    """Best so far of one arm: after so many trainings, and after so many seconds of its own training.

    Trainings are counted by their epochs, a full one as 1; `over` are those that ended. A value counts when its trial
    was trained to the end.
    """

    over: float
    by_trainings: tuple[tuple[float, float], ...]
    by_seconds: tuple[tuple[float, float], ...]

    def after(self, trainings: float) -> float | None:
        """The best value among the first so many."""
        found = [value for count, value in self.by_trainings if count <= trainings]
        return found[-1] if found else None


@final
@dataclass(frozen=True)
class Comparison:
    """The search and random search at an equal number of trainings; `seconds` is what these took each.

    `rungs` says that some were shorter than a full one, and that epochs were counted.
    """

    trainings: float
    rungs: bool
    searched: float | None
    random: float | None
    seconds: tuple[float, float]

    @property
    def each(self) -> str:
        """How much both had, in words."""
        return f"the epochs of {self.trainings:.3g} trials each" if self.rungs else f"{self.trainings:.0f} trials each"


def ended(history: History, arms: Sequence[str]) -> list[TrialRecord]:
    """The trials of `arms` that are over, in the order they ended."""
    found = [r for r in history.trials.values() if r.arm in arms and r.result is not None]
    return sorted(found, key=lambda record: record.ended_at or 0.0)


def counted(history: History, arms: Sequence[str]) -> list[tuple[float, TrialRecord]]:
    """The trials that `ended`, and how many trainings that makes with each of them, by their epochs."""
    spent, found = Epochs(), []
    for record in ended(history, arms):
        spent.add(record.trial)
        found.append((spent.total / record.trial.horizon, record))
    return found


def race(history: History, objective: Objective, arms: Sequence[str]) -> Race:
    """The best so far of `arms`; the lines go on to the last trial."""
    by_trainings: list[tuple[float, float]] = []
    by_seconds: list[tuple[float, float]] = []
    best, seconds, count = None, 0.0, 0.0
    for count, record in counted(history, arms):
        seconds += record.seconds
        gains = record.gains([objective]) if record.full else None
        if gains and (best is None or gains[0] > objective.gain(best)):
            best = objective.gain(gains[0])  # a gain's gain is the value
            by_trainings.append((count, best))
            by_seconds.append((seconds, best))
    if best is not None:
        by_trainings.append((count, best))
        by_seconds.append((seconds, best))
    return Race(count, tuple(by_trainings), tuple(by_seconds))


def compare(history: History, objective: Objective) -> Comparison | None:
    """The search against random search at equal numbers of trainings; None where there is no baseline."""
    arms = (OWN, ("baseline",))
    own, rival = (race(history, objective, one) for one in arms)
    trainings = min(own.over, rival.over)
    if not trainings:
        return None
    spent = [sum(r.seconds for count, r in counted(history, one) if count <= trainings) for one in arms]
    rungs = any(not record.full for record in ended(history, [*OWN, "baseline"]))
    return Comparison(trainings, rungs, own.after(trainings), rival.after(trainings), (spent[0], spent[1]))


def measured(history: History, metrics: Sequence[str]) -> list[TrialRecord]:
    """The completed trials of the search that have all of `metrics`."""
    completed = [record for record in history.searched() if record.completed]
    return [record for record in completed if record.result and set(metrics) <= record.result.metrics.keys()]


def pareto(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[TrialRecord]:
    """The records that none beats in every objective, the best by the first one first."""
    points = [(record, record.gains(objectives)) for record in records]
    known = [(record, gains) for record, gains in points if gains is not None]
    return [known[i][0] for i in front([gains for _, gains in known])]


def traded(history: History, objectives: Sequence[Objective]) -> tuple[Objective, Objective] | None:
    """The two objectives of the trade-off chart: the job's first two, else the first against the size."""
    if len(objectives) >= 2:
        return objectives[0], objectives[1]
    for name in ("parameters", "multiply_adds", "seconds"):
        if objectives and objectives[0].metric != name and measured(history, [objectives[0].metric, name]):
            return objectives[0], Objective(name, Direction.MINIMIZE)
    return None


def best_of(history: History, objectives: Sequence[Objective], count: int) -> list[TrialRecord]:
    """The best trials of the search, the tested winner's own first where it is among them."""
    if not objectives:
        return []
    found = history.best(objectives[0], count) if len(objectives) == 1 else history.front(objectives)[:count]
    if not found:
        found = sorted(measured(history, [objectives[0].metric]), key=lambda r: _first(r, objectives[0]))[:count]
    return found


def _first(record: TrialRecord, objective: Objective) -> float:
    gains = record.gains([objective])
    return -gains[0] if gains else float("inf")


def winner(history: History) -> tuple[TrialRecord, TrialRecord] | None:
    """The trial whose weights were tested and the test; None where no test has completed."""
    test = tested(history)
    if test is None:
        return None
    parent = history.trials.get(test.trial.parent) if test.trial.parent is not None else None
    return (parent, test) if parent is not None else None


@final
@dataclass(frozen=True)
class Cause:
    """Why trials ended without a score: the outcome, the error's first line with its numbers masked, how many."""

    outcome: str
    error: str
    count: int
    trials: tuple[int, ...]


def failures(history: History) -> list[Cause]:
    """The causes, the commonest first."""
    groups: dict[tuple[str, str], list[int]] = {}
    for record in history.trials.values():
        if record.result is not None and record.result.outcome is not Outcome.COMPLETED:
            text = (record.result.error or "no reason given").splitlines()[0]
            groups.setdefault((str(record.result.outcome), _masked(text)), []).append(record.trial.id)
    causes = [Cause(outcome, error, len(ids), tuple(ids[:5])) for (outcome, error), ids in groups.items()]
    return sorted(causes, key=lambda cause: -cause.count)


def _masked(text: str) -> str:
    """Errors that differ in numbers only are one cause."""
    masked: list[str] = []
    for letter in text[:160]:
        if letter.isdigit():
            if not masked or masked[-1] != "#":
                masked.append("#")
        else:
            masked.append(letter)
    return "".join(masked)


@final
@dataclass(frozen=True)
class Cost:
    """What the trials of one arm took."""

    trials: int
    completed: int
    epochs: int
    seconds: float
    device_seconds: float


def costs(history: History) -> Mapping[str, Cost]:
    """The cost of each arm, in the order in which the arms began."""
    found = {}
    for arm, records in history.arms().items():
        over = [record for record in records if record.result is not None]
        found[arm] = Cost(
            trials=len(over),
            completed=sum(record.completed for record in over),
            epochs=sum(record.result.epochs for record in over if record.result),
            seconds=sum(record.seconds for record in records),
            device_seconds=sum(record.device_seconds for record in records),
        )
    return found


def devices(history: History) -> str:
    """What the trials ran on, the commonest first, where workers said it."""
    found = Counter(r.result.device for r in history.trials.values() if r.result is not None and r.result.device)
    return ", ".join(f"{name} ({count} trials)" if len(found) > 1 else name for name, count in found.most_common())


def outcomes(history: History) -> Counter[str]:
    """How many trials ended in each way."""
    return Counter(str(record.result.outcome) for record in history.trials.values() if record.result is not None)


def state(history: History) -> str:
    """How the search stands, with the reason where one was given."""
    return history.state + (f" ({history.reason})" if history.reason else "")


def spec(value: Json) -> str:
    """A plugin of the job in a few words: its name, and its options."""
    if not isinstance(value, Mapping):
        return str(value) if value is not None else "none"
    options = ", ".join(
        f"{len(item)} {key}" if isinstance(item, list) else f"{key} {item}"
        for key, item in value.items()
        if key != "name" and not isinstance(item, Mapping)
    )
    return f"{value.get('name')}" + (f" ({options})" if options else "")
