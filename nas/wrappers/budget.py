"""Limits, Budget: how much a search may spend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import final

from nas.epochs import Epochs
from nas.quantities import counted
from nas.strategy import Draw, Strategy
from nas.wrapper import Wrapper
from workers.errors import UserError
from workers.trial import Json, Trial

PROXIES = 100  # on one core a look takes 0.1 to 1 s, a training minutes; without a bound a strategy might only look


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """What a search may spend before the final retraining: trials, epochs of training, seconds of wall time.

    None is no limit. Seconds count while a driver runs, earlier drivers' included.
    """

    trials: int | None = None
    epochs: int | None = None
    seconds: float | None = None


@final
class Budget(Wrapper):
    """Stops asking when one of the limits is reached; what runs then finishes.

    A look at a network, which trains nothing, is no trial, but `PROXIES` of them count as a full one. `clock` gives the
    seconds that this search has run for in all.
    """

    def __init__(self, inner: Strategy, limits: Limits, clock: Callable[[], float]) -> None:
        super().__init__(inner)
        self.limits = limits
        self.clock = clock
        self.trials = 0
        self.epochs = 0
        self._proxies = 0
        self._trained = Epochs()

    @property
    def spent(self) -> str:
        """Which limit is reached, in words; empty while there is something left."""
        limits = self.limits
        if limits.trials is not None and self.trials >= limits.trials:
            return f"the budget of {counted(limits.trials, 'trial')} is spent"
        if limits.epochs is not None and self.epochs >= limits.epochs:
            return f"the budget of {counted(limits.epochs, 'epoch')} is spent"
        if limits.seconds is not None and self.clock() >= limits.seconds:
            return f"the budget of {counted(limits.seconds, 'second')} is spent"
        return ""

    @property
    def exhausted(self) -> bool:
        return bool(self.spent) or self.inner.exhausted

    def gauges(self) -> Mapping[str, float]:
        limits = self.limits
        now = ((self.trials, limits.trials), (self.epochs, limits.epochs), (self.clock(), limits.seconds))
        shares = [spent / limit for spent, limit in now if limit]
        return {**super().gauges(), "budget_spent_ratio": max(shares, default=math.nan)}

    @property
    def reason(self) -> str:
        return self.spent or super().reason

    def propose(self, draw: Draw) -> Trial | None:
        return None if self.spent else self.inner.propose(draw)

    def asked(self, trial: Trial) -> None:
        if trial.look:
            self._proxies += 1
            if self._proxies % PROXIES == 0:
                self.trials += 1
                self.epochs += trial.horizon
            super().asked(trial)
            return
        self.trials += 1
        self.epochs += self._trained.add(trial)
        super().asked(trial)

    def enqueue(self, candidate: Mapping[str, Json]) -> None:
        if spent := self.spent:
            raise UserError(f"{spent}, so nothing more can be tried: resume the search with a larger budget first")
        super().enqueue(candidate)

    def extend(self, body: Mapping[str, Json]) -> None:
        if "budget" in body:
            from nas.jobfile.parts import Spending

            spending = Spending.model_validate(Spending.merged(asdict(self.limits), body["budget"]))
            self.limits = Limits(spending.trials, spending.epochs, spending.seconds)
        super().extend(body)
