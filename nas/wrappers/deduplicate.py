"""Deduplicate: nothing is trained twice."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import final

from nas.strategy import Strategy
from nas.wrapper import ATTEMPTS, Rejecting
from workers.trial import Result, Trial


@final
class Deduplicate(Rejecting):
    """Refuses a trial whose training another one did already.

    Two trials are the same training when they agree in the canonical candidate, the epochs, their horizon, the
    parent, the seed and the split. The candidate itself stays as it was sampled.

    With `shared` weights they must agree in the version of these, too, as far as it is known here: how many trials that
    trained them were told. A candidate that was tried may be tried again when the weights are others.
    """

    def __init__(self, inner: Strategy, attempts: int = ATTEMPTS, shared: bool = False) -> None:
        super().__init__(inner, attempts)
        self.shared = shared
        self.refused = 0  # proposals, by this driver
        self._version = 0
        self._training: set[int] = set()
        self._seen: set[Hashable] = set()
        self._last: tuple[Trial, Hashable] | None = None  # a cache: a proposal is usually asked next

    def key(self, trial: Trial) -> Hashable:
        last = self._last
        if last is not None and last[0].id == trial.id and last[0].candidate is trial.candidate:
            return last[1]
        canonical = self.setting.canonical(trial.candidate)
        return (canonical, trial.epochs, trial.horizon, trial.parent, trial.seed, trial.split, self._version)

    def accepts(self, trial: Trial) -> bool:
        self._last = None
        key = self.key(trial)
        self._last = (trial, key)
        self.refused += (seen := key in self._seen)
        return not seen

    def gauges(self) -> Mapping[str, float]:
        return {**super().gauges(), "duplicates_refused_total": float(self.refused)}

    def asked(self, trial: Trial) -> None:
        self._seen.add(self.key(trial))
        if self.shared and not trial.look:
            self._training.add(trial.id)
        super().asked(trial)

    def told(self, result: Result) -> None:
        if result.trial_id in self._training:
            self._training.discard(result.trial_id)
            self._version += 1
            self._last = None
        super().told(result)

    @property
    def reason(self) -> str:
        if self.barren:
            return f"{self.attempts} proposals in a row had been trained before: the space is exhausted"
        return super().reason
