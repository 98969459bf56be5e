"""Baseline: a share of the training goes to random search, so that a report can compare at equal budget."""

from __future__ import annotations

from dataclasses import replace
from typing import final

from nas.epochs import Epochs
from nas.strategy import Draw, Strategy
from nas.wrapper import Wrapper
from workers.trial import Result, Trial

ROUNDING = 1e-9  # of a share, which is rarely a binary fraction


@final
class Baseline(Wrapper):
    """Of all epochs `rival` is given `share`, `inner` the others.

    Where every trial is a full training this is a share of the trials. A strategy that trains briefly, or looks at
    networks that are not trained, leaves random search as much of the budget as any other does. Whose turn it is
    follows from what was asked, and is the same after any restart. Neither arm hears of the other's trials, and neither
    is kept from what the other has trained: a baseline that may not take the strategy's best candidates would be none.
    `rival` has a seed of its own, so that no training is done twice.
    """

    def __init__(self, inner: Strategy, rival: Strategy, share: float) -> None:
        super().__init__(inner)
        self.rival = rival
        self.share = share
        self._rivals: set[int] = set()
        self._epochs = Epochs()
        self._theirs = 0  # of these epochs

    @property
    def due(self) -> bool:
        """Whether a full training by `rival` would leave it within its share."""
        full = self.setting.epochs
        return self._theirs + full <= self.share * (self._epochs.total + full) + ROUNDING

    def propose(self, draw: Draw) -> Trial | None:
        if self.due and not self.rival.exhausted:
            trial = self.rival.propose(draw)
            if trial is not None:
                return replace(trial, note={**trial.note, "arm": "baseline"})
        return self.inner.propose(draw)

    def asked(self, trial: Trial) -> None:
        added = self._epochs.add(trial)
        if trial.note.get("arm") == "baseline":
            self._rivals.add(trial.id)
            self._theirs += added
            note = {name: value for name, value in trial.note.items() if name != "arm"}
            self.rival.hear(replace(trial, note=note))
        else:
            super().asked(trial)

    def told(self, result: Result) -> None:
        if result.trial_id in self._rivals:
            self.rival.tell(result)
        else:
            super().told(result)

    def close(self) -> None:
        self.rival.close()
        super().close()
