"""Optuna's samplers (Akiba et al., KDD 2019): https://arxiv.org/abs/1907.10902."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, final

from nas.jobfile.mistakes import nearest
from nas.samplers.options import ONE_OBJECTIVE, SAMPLERS, resolve
from nas.strategy import Draw, Setting, Strategy
from search_spaces.decision import Range
from workers.errors import UserError
from workers.trial import Json, Result, Trial

if TYPE_CHECKING:
    from nas.samplers.study import SearchStudy

GRID_AT_MOST = 200_000  # points: Optuna lists and shuffles them all, in 0.1 s and 40 MB for as many


@final
class OptunaSearch(Strategy):
    """One of Optuna's samplers by its name, on the whole table: hyperparameters, architectures, or both.

    `sampler` is `random`, `grid`, `tpe`, `gp`, `cmaes`, `qmc`, `nsgaii` or `nsgaiii`; `options` are the sampler's, as
    listed in `nas.samplers.options` with their defaults. The table is walked define-by-run: a conditional decision is
    suggested when it is active. What a sampler keeps in attributes of its trials and its study is in the notes.

    A failed trial is told as failed, and no sampler learns from it; an infeasible one breaks a constraint, as does
    what is over a ceiling of the job. `cmaes`, `nsgaii` and `nsgaiii` learn only from trials of their own. A proposal
    that was refused often is replaced by a random one, except by `grid` and `qmc`, which go on in their sequence.

    Hearing takes 5 microseconds an event. The study is brought up to date at the next ask: 1.2 s more after 100,000
    trials of ten decisions (4.4 s where CMA-ES is told its populations again). An ask takes 1 ms at 1,000 trials and
    up to 30 ms at 100,000; of TPE 11 ms and 0.8 s, of the Gaussian process 4 s and 4 s.
    """

    objectives_at_most = None
    foreign = True

    def __init__(self, setting: Setting, sampler: str = "tpe", options: Mapping[str, Json] | None = None) -> None:
        super().__init__(setting)
        if sampler not in SAMPLERS:
            raise UserError(f"sampler is {sampler!r}, but strategy optuna has no such: {nearest(sampler, SAMPLERS)}")
        objectives = len(setting.objectives)
        if sampler in ONE_OBJECTIVE and objectives > 1:
            names = ", ".join(objective.metric for objective in setting.objectives)
            raise UserError(
                f"{objectives} objectives ({names}) are given, but the sampler {sampler} takes one: leave out the "
                "others, or take a sampler for several, such as nsgaii or tpe"
            )
        self.sampler = sampler
        self.options = resolve(sampler, options or {}, objectives)
        if sampler == "grid":
            _check_grid(setting)
        if sampler == "cmaes":
            _check_numbers(setting)
        self._unread: list[Trial | Result] = []
        self._study: SearchStudy | None = None
        self._over = False

    @property
    def exhausted(self) -> bool:
        return self._over

    def asked(self, trial: Trial) -> None:
        self._unread.append(trial)
        self._over = False

    def told(self, result: Result) -> None:
        self._unread.append(result)

    def propose(self, draw: Draw) -> Trial | None:
        suggestion = self._read().suggest(draw)
        if suggestion is None:
            self._over = True  # of a grid all is asked or refused, and no result changes that
            return None
        return self.trial(draw, suggestion.candidate, suggestion.note)

    def _read(self) -> SearchStudy:
        """The study after all that was heard."""
        if self._study is None:
            from nas.samplers.study import SearchStudy

            self._study = SearchStudy(self.setting, self.sampler, self.options)
        for event in self._unread:
            if isinstance(event, Trial):
                self._study.asked(event)
            else:
                self._study.told(event)
        self._unread.clear()
        return self._study


def _check_grid(setting: Setting) -> None:
    size = math.prod(len(decision.points) for decision in setting.decisions.values())
    if size > GRID_AT_MOST:
        raise UserError(
            f"the grid has {size:,} points, but the sampler grid lists at most {GRID_AT_MOST:,}: give ranges fewer "
            "points, leave fewer decisions to the search, or take another sampler, such as qmc or tpe"
        )


def _check_numbers(setting: Setting) -> None:
    moved = [
        name
        for name, decision in setting.decisions.items()
        if decision.when is None and (isinstance(decision, Range) or (decision.ordered and len(decision.options) > 1))
    ]
    if not moved:
        raise UserError(
            "the sampler cmaes moves numbers that every candidate has, but no decision here is one: "
            "take another sampler, such as tpe or nsgaii"
        )
