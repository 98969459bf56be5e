"""Counts: what a journal says of a search in numbers, all of it, whoever drove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, final

from nas.history import BESIDE, History, TrialRecord
from nas.journal import LOSSES
from nas.metrics.catalogue import ARMS, CAUSES, OTHER, OUTCOMES
from nas.timing import Spans
from workers.objectives import Objective

BOUNDS: Final = tuple(0.001 * 2**power for power in range(28))  # seconds: a millisecond to 37 hours


@final
@dataclass(slots=True)
class _Open:
    """A trial without a result, and what of it is counted already."""

    record: TrialRecord
    begun: int = 0
    lost: int = 0
    returned: int = 0
    device_seconds: float = 0.0


@final
class Counts:
    """Counters and gauges of trials; `update` looks at new and unfinished trials only.

    They are of the whole search, its earlier drivers' trials included: a counter goes on where the last driver's
    ended, and what that one counted and nobody scraped is not missing.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self.ended = {(outcome, arm): 0 for outcome in OUTCOMES for arm in ARMS}
        self.durations, self.waits = Spans(BOUNDS), Spans(BOUNDS)
        self.retries = dict.fromkeys(CAUSES, 0)
        self.epochs, self.device_seconds = 0, 0.0
        self.best: dict[str, float] = {}
        self.baseline: dict[str, float] = {}
        self.improved_at = self.finished_at = 0.0
        self.running = self.waiting = 0
        self._asked = 0
        self._open: dict[int, _Open] = {}

    def update(self, history: History) -> None:
        """Take in what is new in `history`."""
        for record in islice(history.trials.values(), self._asked, None):
            self._open[record.trial.id] = _Open(record)
            self.retries["failed"] += "retry" in record.trial.note
        self._asked = len(history.trials)
        for one in self._open.values():
            self._follow(one)
        over = [one.record for one in self._open.values() if one.record.result is not None]
        for record in sorted(over, key=lambda record: record.ended_at or 0.0):
            del self._open[record.trial.id]
            self._end(record)
        self.running = len(history.running)
        self.waiting = len(self._open) - self.running

    def _follow(self, one: _Open) -> None:
        """What became of a trial's attempts since the last look."""
        record = one.record
        self.device_seconds += record.device_seconds - one.device_seconds
        one.device_seconds = record.device_seconds
        busy = record.busy
        begun = len(busy) + (record.running and record.started_at is not None)
        while one.begun < begun:
            start = busy[one.begun][0] if one.begun < len(busy) else record.started_at
            since = busy[one.begun - 1][1] if one.begun else record.asked_at
            self.waits.add(max(0.0, (start or since) - since))
            one.begun += 1
        if record.running or record.result is not None:
            given_up = record.result is not None and record.losses >= LOSSES
            lost = record.losses - given_up
            returned = max(0, record.attempts - 1 - lost)
            self.retries["lost"] += lost - one.lost
            self.retries["returned"] += returned - one.returned
            one.lost, one.returned = lost, returned

    def _end(self, record: TrialRecord) -> None:
        assert record.result is not None
        arm = record.arm if record.arm in ARMS else OTHER
        self.ended[str(record.result.outcome), arm] += 1
        self.durations.add(record.seconds)
        self.epochs += record.result.epochs
        self.finished_at = max(self.finished_at, record.ended_at or 0.0)
        if record.full and record.arm not in BESIDE:
            self._rank(record)

    def _rank(self, record: TrialRecord) -> None:
        """Compare a trial that ended with the best so far, as `History.ranked` would."""
        for objective in self.objectives:
            if (found := record.gains([objective])) is None or record.result is None:
                continue
            for best in (self.best, self.baseline) if record.arm == "baseline" else (self.best,):
                if objective.metric in best and found[0] <= objective.gain(best[objective.metric]):
                    continue
                best[objective.metric] = record.result.metrics[objective.metric]
                if best is self.best:
                    self.improved_at = record.ended_at or 0.0
