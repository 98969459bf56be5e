"""Epochs: what trials add to each other's training."""

from __future__ import annotations

from typing import final

from workers.trial import Trial


@final
class Epochs:
    """Counts epochs as they are paid for: a trial that continues another adds only what is new."""

    def __init__(self) -> None:
        self.total = 0
        self._trained: dict[int, int] = {}

    def add(self, trial: Trial) -> int:
        """How many epochs `trial` adds; its own are remembered, and counted in `total`."""
        before = 0 if trial.parent is None or trial.heir else self._trained.get(trial.parent, 0)
        added = max(0, trial.epochs - before)
        self._trained[trial.id] = trial.epochs
        self.total += added
        return added
