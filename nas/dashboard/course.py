"""Course: the best so far of one arm, trial by trial as they end; Edge: a Pareto front that grows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import ge
from typing import final

from nas.dashboard.thinning import Thinned
from nas.epochs import Epochs
from nas.history import Gains, TrialRecord
from nas.reports.chart import Point
from workers.objectives import Objective


@final
class Course:
    """What `nas.reports.facts.race` says of an arm, kept up to date at the cost of what is new.

    Trainings are counted by their epochs, a full one as 1; a value counts when its trial was trained to the end.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.dots = Thinned()
        self.best: TrialRecord | None = None
        self.over = 0.0
        self.rungs = False
        self._steps: list[Point] = []
        self._gain = 0.0
        self._epochs = Epochs()

    def ended(self, record: TrialRecord) -> None:
        """A trial of the arm is over."""
        self._epochs.add(record.trial)
        self.over = self._epochs.total / record.trial.horizon
        self.rungs |= not record.full
        if record.result is None or not record.completed:
            return
        value = record.result.metrics.get(self.objective.metric)
        if value is None or math.isnan(value):
            return
        finite, gain = math.isfinite(value), self.objective.gain(value)
        if finite:
            self.dots.add(self.over, value, record.trial.id)
        if record.full and (self.best is None or gain > self._gain):
            self.best, self._gain = record, gain
            self._steps += [(self.over, value)] if finite else []

    @property
    def line(self) -> Sequence[Point]:
        """Best so far, from the first trial that counts to the last one that ended."""
        return [*self._steps, (self.over, self._steps[-1][1])] if self._steps else []


@final
class Edge:
    """The trials that none beats in every objective, as `nas.ranking.front` finds them: equals stay together."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self.seen = 0
        self._members: list[tuple[Gains, TrialRecord]] = []

    def ended(self, record: TrialRecord) -> bool:
        """Take in a trial that is over; whether it has all the metrics."""
        gains = record.gains(self.objectives)
        if gains is None:
            return False
        self.seen += 1
        if not any(one != gains and all(map(ge, one, gains)) for one, _ in self._members):
            self._members = [m for m in self._members if m[0] == gains or not all(map(ge, gains, m[0]))]
            self._members.append((gains, record))
        return True

    @property
    def records(self) -> Sequence[TrialRecord]:
        """The front, the best by the first objective first."""
        return [record for _, record in sorted(self._members, key=lambda one: (-one[0][0], one[1].trial.id))]
