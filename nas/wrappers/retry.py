"""Retry: what failed is tried again with another seed."""

from __future__ import annotations

from dataclasses import replace
from typing import final

from nas.strategy import Draw, Strategy
from nas.wrapper import ASIDE, Wrapper
from workers.objectives import Outcome
from workers.trial import Result, Trial

SEED_STEP = 1_000  # beyond the seeds of the random baseline and of the final retraining


@final
class Retry(Wrapper):
    """A training that failed (not one that was infeasible) is trained again up to `times` times, before all else.

    Each time it is a trial of its own, which spends the budget, with `note["retry"]` saying `of` which trial it is and
    which `number` it has. `inner` hears of one trial that took long: its last result, under its first number; what
    continues that trial continues the one that succeeded.
    """

    def __init__(self, inner: Strategy, times: int) -> None:
        super().__init__(inner)
        self.times = times
        self._open: dict[int, Trial] = {}
        self._waiting: dict[int, Trial] = {}  # what failed last, by the number it has for `inner`
        self._first: dict[int, int] = {}  # of each retry, the number that it has for `inner`
        self._last: dict[int, int] = {}  # of what succeeded at last, which retry that was

    @property
    def exhausted(self) -> bool:
        return not self._waiting and self.inner.exhausted

    def propose(self, draw: Draw) -> Trial | None:
        for first, failed in self._waiting.items():
            number = self._number(failed) + 1
            note = {**failed.note, "retry": {"of": first, "number": number}}
            return replace(failed, id=draw.trial, seed=failed.seed + SEED_STEP, note=note)
        trial = self.inner.propose(draw)
        if trial is not None and trial.parent in self._last:
            return replace(trial, parent=self._last[trial.parent])
        return trial

    def asked(self, trial: Trial) -> None:
        self._open[trial.id] = trial
        if "retry" in trial.note:
            first = self._first[trial.id] = trial.note["retry"]["of"]
            self._waiting.pop(first, None)
        elif trial.parent in self._first:
            super().asked(replace(trial, parent=self._first[trial.parent]))
        else:
            super().asked(trial)

    def told(self, result: Result) -> None:
        trial = self._open.pop(result.trial_id, None)
        first = self._first.get(result.trial_id, result.trial_id)
        failed = result.outcome is Outcome.FAILED and result.error != ASIDE
        if trial is not None and failed and self._number(trial) < self.times:
            self._waiting[first] = trial
            return
        if first != result.trial_id:
            self._last[first] = result.trial_id
        super().told(replace(result, trial_id=first))

    def _number(self, trial: Trial) -> int:
        return int(trial.note["retry"]["number"]) if "retry" in trial.note else 0
