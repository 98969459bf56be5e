"""Rescore: the best of a search with shared weights are scored again, all with the weights as they are at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import final

from nas.ranking import ranked
from nas.strategy import Draw, Strategy
from nas.wrapper import Wrapper
from workers.objectives import Outcome
from workers.trial import Result, Trial

ARM = "rescore"


@final
class Rescore(Wrapper):
    """When `inner` is exhausted and all told, its `count` best candidates are scored by trials of no epochs.

    Scores of a search with shared weights are of different weights: the earlier ones of worse. Those of one `round`
    (how many trials had been told when it began) are of the same, and can be compared. ENAS, too, chooses at the end
    among candidates that it scores then (Pham et al. 2018, section 2.3).
    """

    def __init__(self, inner: Strategy, count: int) -> None:
        super().__init__(inner)
        self.count = count
        self._searched: dict[int, Trial] = {}
        self._metrics: dict[int, Mapping[str, float]] = {}
        self._rescored: dict[int, Trial] = {}
        self._open: set[int] = set()
        self._over: set[int] = set()

    @property
    def exhausted(self) -> bool:
        return self.inner.exhausted and not self._open and not self._left()

    def propose(self, draw: Draw) -> Trial | None:
        if not self.inner.exhausted:
            trial = self.inner.propose(draw)
            if trial is not None or not self.inner.exhausted:
                return trial
        if self._open & self._searched.keys():
            return None
        return next((self._again(draw, trial) for trial in self._left()), None)

    def asked(self, trial: Trial) -> None:
        self._open.add(trial.id)
        if trial.note.get("arm") == ARM:
            self._rescored[trial.id] = trial
        else:
            self._searched[trial.id] = trial
            super().asked(trial)

    def told(self, result: Result) -> None:
        self._open.discard(result.trial_id)
        if result.trial_id in self._rescored:
            return
        self._over.add(result.trial_id)
        self._metrics.pop(result.trial_id, None)
        if result.outcome is Outcome.COMPLETED:
            self._metrics[result.trial_id] = result.metrics
        super().told(result)

    @property
    def _round(self) -> int:
        return len(self._over)

    def _left(self) -> list[Trial]:
        """Those of the best that were not scored again since the search ended."""
        done = {one.note["of"] for one in self._rescored.values() if one.note["round"] == self._round}
        return [trial for trial in self._best() if trial.id not in done]

    def _best(self) -> list[Trial]:
        """The best of the trials that were trained for longest, isomorphic candidates counted once."""
        completed = [self._searched[number] for number in self._metrics if not self._searched[number].look]
        most = max((trial.epochs for trial in completed), default=0)
        longest = [trial for trial in completed if trial.epochs == most]
        best: dict[object, Trial] = {}
        for trial in ranked(longest, lambda one: self._metrics[one.id], self.setting.objectives):
            best.setdefault(self.setting.canonical(trial.candidate), trial)
        return list(best.values())[: self.count]

    def _again(self, draw: Draw, trial: Trial) -> Trial:
        note = {"arm": ARM, "of": trial.id, "round": self._round}
        return Trial(draw.trial, trial.candidate, 0, trial.horizon, note=note, seed=trial.seed, shared=True)


def last_round(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that scored candidates again with the weights of the end; none where nothing was scored again."""
    again = [trial for trial in trials if trial.note.get("arm") == ARM]
    last = max((trial.note["round"] for trial in again), default=0)
    return [trial for trial in again if trial.note["round"] == last]
