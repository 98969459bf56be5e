"""Constrain: what is too large is refused before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, final

from nas.strategy import Strategy
from nas.wrapper import ATTEMPTS, Rejecting
from search_spaces.decisions import Candidate
from workers.trial import Trial

Describe: TypeAlias = Callable[[Candidate], Mapping[str, float]]


@final
class Constrain(Rejecting):
    """Refuses a candidate of which a described count (`parameters`, `multiply_adds`) is over its ceiling."""

    def __init__(
        self, inner: Strategy, ceilings: Mapping[str, float], describe: Describe, attempts: int = ATTEMPTS
    ) -> None:
        super().__init__(inner, attempts)
        self.ceilings = dict(ceilings)
        self.describe = describe

    def accepts(self, trial: Trial) -> bool:
        counts = self.describe(trial.candidate)
        return all(counts[metric] <= ceiling for metric, ceiling in self.ceilings.items() if metric in counts)

    @property
    def reason(self) -> str:
        if self.barren:
            rules = " and ".join(f"{metric} at most {ceiling:,.0f}" for metric, ceiling in self.ceilings.items())
            return f"{self.attempts} proposals in a row broke the constraints ({rules}): allow more, or search smaller"
        return super().reason
