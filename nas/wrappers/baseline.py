"""Baseline: a share of the trials goes to random search, so that a report can compare at equal budget."""

from __future__ import annotations

from dataclasses import replace
from math import floor
from typing import final

from nas.strategy import Draw, Strategy
from nas.wrapper import Wrapper
from workers.trial import Result, Trial


@final
class Baseline(Wrapper):
    """Every trial whose id falls to the random arm is proposed by `rival`, the others by `inner`.

    Which ids those are follows from `share` alone: spread evenly, and the same after any restart. Neither arm hears
    of the other's trials, and neither is kept from what the other has trained: a baseline that may not take the
    strategy's best candidates would be none. `rival` has a seed of its own, so that no training is done twice.
    """

    def __init__(self, inner: Strategy, rival: Strategy, share: float) -> None:
        super().__init__(inner)
        self.rival = rival
        self.share = share
        self._rivals: set[int] = set()

    def falls_to_rival(self, trial_id: int) -> bool:
        """Whether the trial with this id is random search's; exactly `share` of any long run of them are."""
        return floor((trial_id + 1) * self.share + 1e-9) > floor(trial_id * self.share + 1e-9)

    def propose(self, draw: Draw) -> Trial | None:
        if self.falls_to_rival(draw.trial):
            trial = self.rival.propose(draw)
            if trial is not None:
                return replace(trial, note={**trial.note, "arm": "baseline"})
        return self.inner.propose(draw)

    def asked(self, trial: Trial) -> None:
        if trial.note.get("arm") == "baseline":
            self._rivals.add(trial.id)
            note = {name: value for name, value in trial.note.items() if name != "arm"}
            self.rival.hear(replace(trial, note=note))
        else:
            super().asked(trial)

    def told(self, result: Result) -> None:
        if result.trial_id in self._rivals:
            self.rival.tell(result)
        else:
            super().told(result)
