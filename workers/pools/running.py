"""Running: one attempt on a worker, as the driver sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from workers.objectives import Outcome
from workers.pool import Progress
from workers.trial import Attempt, Result

BRIEF = 1.0  # seconds; an attempt that ends sooner reports no progress, its result says it all


@final
class Running:
    """What is known of an attempt between `submit` and its `Result`; times are the driver's monotonic seconds."""

    __slots__ = ("_held", "attempt", "epochs", "metrics", "since")

    def __init__(self, attempt: Attempt, now: float) -> None:
        self.attempt = attempt
        self.since = now
        self.metrics: Mapping[str, float] = {}
        self.epochs = 0
        self._held: list[Progress] = []

    def hear(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take note of the metrics after one more epoch."""
        self.metrics, self.epochs = metrics, epoch
        self._held.append(Progress(self.attempt.trial.id, self.attempt.number, epoch, metrics))

    def progress(self, now: float) -> list[Progress]:
        """What was heard and not yet passed on; nothing while the attempt is brief."""
        if not self._held or now - self.since < BRIEF:
            return []
        held, self._held = self._held, []
        return held

    def lost(self, now: float, error: str) -> Result:
        """The result where the worker is gone."""
        return self._ended(Outcome.LOST, now, error)

    def returned(self, error: str) -> Result:
        """The result where the worker is gone before this attempt began: none of its doing."""
        return Result(self.attempt.trial.id, self.attempt.number, Outcome.STOPPED, error=error)

    def overdue(self, now: float, limit: float) -> Result:
        """The result where it ran for longer than `limit` seconds: failed, with the last metrics heard."""
        return self._ended(Outcome.FAILED, now, f"it ran longer than its time limit of {limit:g} s")

    def exceeded(self, now: float, error: str) -> Result:
        """The result where it held more memory than it may, and went on."""
        said = f"out of memory ({error}, and it did not stop): a smaller network or batch_size may fit"
        return self._ended(Outcome.INFEASIBLE, now, said)

    def _ended(self, outcome: Outcome, now: float, error: str) -> Result:
        trial, seconds = self.attempt.trial, now - self.since
        metrics = self.metrics if outcome.charged else {}
        return Result(trial.id, self.attempt.number, outcome, metrics, self.epochs, seconds, error=error)
