"""Table: the results of every training in a space, as somebody published them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, TypeAlias, final

from nas.strategy import Setting
from search_spaces.decision import Value
from search_spaces.decisions import Candidate, Decisions
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Attempt, Result

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Key: TypeAlias = tuple[Value | None, ...]


@final
@dataclass(frozen=True, slots=True)
class Training:
    """One published training: the value that a search sees, and the seconds it took."""

    value: float
    seconds: float = 1.0


@final
@dataclass(frozen=True)
class Row:
    """One candidate: its trainings by epochs, one or more repeats of each, and the value to report of it.

    `reported` is the mean over repeats of the longest training.
    """

    trainings: Mapping[int, tuple[Training, ...]]
    reported: float


@final
@dataclass(frozen=True)
class Table:
    """What can be asked (`rows`, by the values of the decisions in order), and which way the search value is better.

    `epochs` is the length of a full training; a row without one is infeasible, as is a candidate without a row.
    `continued` says that a longer training goes on from a shorter one, and costs the difference only.
    """

    name: str
    decisions: Decisions
    objective: Objective
    rows: Mapping[Key, Row] = field(repr=False)
    epochs: int = 1
    continued: bool = False

    @cached_property
    def fidelities(self) -> tuple[int, ...]:
        """The shorter trainings that the table has, ascending."""
        found = {epochs for row in self.rows.values() for epochs in row.trainings}
        return tuple(sorted(found - {self.epochs}))

    def setting(self, seed: int) -> Setting:
        """What a strategy is told of it."""
        judged = (*self.fidelities, self.epochs)  # with the full one: without any, every length could be asked for
        return Setting(self.decisions, (self.objective,), epochs=self.epochs, seed=seed, fidelities=judged)

    def key(self, candidate: Candidate) -> Key:
        """Where the row of `candidate` is, if there is one; None stands for a decision that is not active."""
        return tuple(candidate.get(name) for name in self.decisions)

    @cached_property
    def feasible(self) -> dict[Key, Row]:
        """The rows that have a full training."""
        return {key: row for key, row in self.rows.items() if self.epochs in row.trainings}

    @cached_property
    def repeated(self) -> bool:
        """Whether a training was repeated anywhere, so that runs can see different values."""
        return any(len(repeats) > 1 for row in self.rows.values() for repeats in row.trainings.values())

    @cached_property
    def reports(self) -> list[float]:
        """The gains of all rows by reported value, the best first and negated, so that they ascend."""
        return sorted(-self.objective.gain(row.reported) for row in self.feasible.values())

    @cached_property
    def gains(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The gains of full trainings, (rows, repeats), NaN behind the last one; and how many repeats each row has."""
        import numpy as np

        repeats = [row.trainings[self.epochs] for row in self.feasible.values()]
        counts = np.array([len(one) for one in repeats])
        found = np.full((len(repeats), counts.max()), np.nan)
        found[np.arange(found.shape[1]) < counts[:, None]] = [
            self.objective.gain(t.value) for one in repeats for t in one
        ]
        return found, counts

    @cached_property
    def searched(self) -> list[float]:
        """`reports` by the value that every run sees, where nothing was `repeated`."""
        gain = self.objective.gain
        return sorted(-gain(row.trainings[self.epochs][0].value) for row in self.feasible.values())


@final
class World:
    """A table as one run of a search meets it: where a training was repeated, the seed says which one is seen.

    Calling it answers an attempt, as the `simulated` pool wants it.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        self.seed = seed

    def __call__(self, attempt: Attempt) -> Result:
        trial = attempt.trial
        key = self.table.key(trial.candidate)
        row = self.table.feasible.get(key)
        if row is None or trial.epochs not in row.trainings:
            why = "the table has no such row" if row is None else f"the table has no training of {trial.epochs} epochs"
            return Result(trial.id, attempt.number, Outcome.INFEASIBLE, error=why)
        training = self._seen(key, row, trial.epochs)
        seconds = training.seconds
        if self.table.continued and attempt.parent is not None:
            before = row.trainings.get(attempt.parent.trial.epochs)
            seconds -= self._seen(key, row, attempt.parent.trial.epochs).seconds if before else 0.0
        metrics = {self.table.objective.metric: training.value}
        return Result(trial.id, attempt.number, Outcome.COMPLETED, metrics, trial.epochs, max(0.0, seconds))

    def value(self, candidate: Candidate) -> float | None:
        """What a full training of `candidate` gives in this run; None where it is infeasible."""
        key = self.table.key(candidate)
        row = self.table.feasible.get(key)
        return None if row is None else self._seen(key, row, self.table.epochs).value

    def gain(self, key: Key) -> float:
        """What a full training of this row gives in this run, larger better."""
        return self.table.objective.gain(self._seen(key, self.table.feasible[key], self.table.epochs).value)

    def search_rank(self, gain: float) -> int:
        """How many rows are better by the value that this run's search sees."""
        return bisect_left(self._searched, -gain)

    def report_rank(self, reported: float) -> int:
        """How many rows are better by the reported value."""
        return bisect_left(self.table.reports, -self.table.objective.gain(reported))

    @property
    def best_search(self) -> float:
        """The largest gain that this run's search could see."""
        return -self._searched[0]

    @property
    def best_report(self) -> float:
        """The largest gain by reported value."""
        return -self.table.reports[0]

    @cached_property
    def _searched(self) -> list[float]:
        """The gains of all rows as this run sees them, negated and ascending."""
        if not self.table.repeated:
            return self.table.searched
        import numpy as np

        gains, counts = self.table.gains
        draws = np.array([self._draws[key] for key in self.table.feasible])
        seen = gains[np.arange(len(draws)), (draws * counts).astype(np.int64)]
        return [float(one) for one in np.sort(-seen)]

    @cached_property
    def _draws(self) -> dict[Key, float]:
        """A number from 0 to 1 for every row: which of its repeats this run sees."""
        number = Random(f"{self.seed}/repeats").random
        return {key: number() for key in self.table.rows}

    def _seen(self, key: Key, row: Row, epochs: int) -> Training:
        repeats = row.trainings[epochs]
        return repeats[0] if len(repeats) == 1 else repeats[int(self._draws[key] * len(repeats))]


def objective(metric: str, minimize: bool = False) -> Objective:
    """The objective of a table whose search value is called `metric`."""
    return Objective(metric, Direction.MINIMIZE if minimize else Direction.MAXIMIZE)
