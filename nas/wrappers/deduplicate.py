"""Deduplicate: nothing is trained twice."""

from __future__ import annotations

from collections.abc import Hashable
from typing import final

from nas.strategy import Strategy
from nas.wrapper import ATTEMPTS, Rejecting
from workers.trial import Trial


@final
class Deduplicate(Rejecting):
    """Refuses a trial whose training another one did already.

    Two trials are the same training when they agree in the canonical candidate, the epochs, their horizon, the
    parent, the seed and the split. The candidate itself stays as it was sampled.
    """

    def __init__(self, inner: Strategy, attempts: int = ATTEMPTS) -> None:
        super().__init__(inner, attempts)
        self._seen: set[Hashable] = set()
        self._last: tuple[Trial, Hashable] | None = None  # a cache: a proposal is usually asked next

    def key(self, trial: Trial) -> Hashable:
        last = self._last
        if last is not None and last[0].id == trial.id and last[0].candidate is trial.candidate:
            return last[1]
        canonical = self.setting.canonical(trial.candidate)
        return (canonical, trial.epochs, trial.horizon, trial.parent, trial.seed, trial.split)

    def accepts(self, trial: Trial) -> bool:
        self._last = None
        key = self.key(trial)
        self._last = (trial, key)
        return key not in self._seen

    def asked(self, trial: Trial) -> None:
        self._seen.add(self.key(trial))
        super().asked(trial)

    @property
    def reason(self) -> str:
        if self.barren:
            return f"{self.attempts} proposals in a row had been trained before: the space is exhausted"
        return super().reason
