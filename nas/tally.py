"""Tally: a running search in numbers, kept up to date at the cost of what is running."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import final

from nas.history import APART, BESIDE, History, TrialRecord
from workers.objectives import Objective

RUNG = "rung"  # stands for the arm of a trial that is not trained to the end


@final
class Tally:
    """Counts of outcomes and the best of each arm; `update` looks at new and unfinished trials only."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self.outcomes: Counter[str] = Counter()
        self.best: dict[str, TrialRecord] = {}
        self._gains: dict[str, tuple[float, ...]] = {}
        self.open: dict[int, TrialRecord] = {}
        self.asked = 0
        self.searched = 0
        self.ended = 0
        self.apart = 0
        self.proxies = 0
        self.rescored = 0

    def update(self, history: History) -> list[TrialRecord]:
        """Take in what is new in `history`; the trials that ended since the last call, in the order they were asked."""
        for record in islice(history.trials.values(), self.asked, None):
            self.open[record.trial.id] = record
            self.searched += record.arm not in BESIDE
        self.asked = len(history.trials)
        ended = [record for record in self.open.values() if record.result is not None]
        for record in ended:
            del self.open[record.trial.id]
            self._count(record)
        return ended

    @property
    def running(self) -> list[TrialRecord]:
        """The trials that a worker has, the longest-running first."""
        return [record for record in self.open.values() if record.running]

    def _count(self, record: TrialRecord) -> None:
        assert record.result is not None
        if record.arm in ("proxy", "rescore"):
            self.proxies += record.arm == "proxy"
            self.rescored += record.arm == "rescore"
            return
        if record.arm in APART:
            self.apart += 1
        else:
            self.ended += 1
            self.outcomes[str(record.result.outcome)] += 1
        gain = record.gains(self.objectives[:1]) if self.objectives else None
        arm = record.arm if record.full else RUNG
        if gain is not None and (arm not in self._gains or gain > self._gains[arm]):
            self._gains[arm], self.best[arm] = gain, record
