"""Random search: every candidate is drawn afresh, decision by decision."""

from __future__ import annotations

from typing import final

from nas.strategy import Draw, Strategy
from workers.trial import Result, Trial


@final
class RandomSearch(Strategy):
    """Learns nothing and never ends; the yardstick of all others."""

    objectives_at_most = None

    def propose(self, draw: Draw) -> Trial:
        return self.trial(draw, self.setting.decisions.sample(draw.generator()))

    def asked(self, trial: Trial) -> None:
        """Nothing depends on what was asked."""

    def told(self, result: Result) -> None:
        """Nothing depends on what came out."""
