"""SearchStudy: a search as one of Optuna's samplers sees it, and asking without a trace."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, final

import optuna
from optuna.samplers import BaseSampler, RandomSampler

from nas.ranking import gains
from nas.samplers.build import Seeds, build
from nas.samplers.covariance import CovarianceSampler, Lineage
from nas.samplers.cube import Cube
from nas.samplers.grid import Grid
from nas.samplers.ledger import Ledger
from nas.samplers.quiet import quiet
from nas.samplers.table import Table
from nas.strategy import Draw, Setting
from nas.threads import on_one_thread
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial

RELATIVE = ("tpe:relative_params:", "gp:relative_params:")  # what was sampled jointly, in pieces of text
GENETIC = ("nsgaii", "nsgaiii")
REDRAWS = 16  # proposals of one trial that are the sampler's own; those after so many refusals are drawn at random
SLOW_REDRAWS = 3  # of the Gaussian process, which takes seconds and rarely changes its mind


@final
@dataclass(frozen=True, slots=True)
class Suggestion:
    """What was suggested, and the attributes to keep, of the trial and of the study, should it be asked."""

    candidate: Candidate
    note: Mapping[str, Json] = field(default_factory=dict)


@final
class SearchStudy:
    """Hears trials and results, and suggests; what it suggests follows from what it heard and the draw."""

    def __init__(self, setting: Setting, sampler: str, options: Mapping[str, Json]) -> None:
        self.setting = setting
        self.name = sampler
        self.options = dict(options)
        self.table = Table(setting.decisions)
        self.ledger = Ledger(len(setting.objectives), self.options.get("trials_at_most"))
        with quiet():
            directions = self.ledger.directions
            self.study = optuna.create_study(storage=self.ledger, sampler=RandomSampler(0), directions=directions)
        self.constant = Random(f"{setting.seed}/optuna").getrandbits(32)
        self.grid = Grid(self.table, self.constant) if sampler == "grid" else None
        self.lineage: Lineage | None = None
        if sampler == "cmaes":
            cube = Cube(self.table.numbers(), widen=not self.options["with_margin"])
            self.lineage = Lineage(self.ledger, cube, self.options)
        self._numbers: dict[int, int] = {}
        self._member: tuple[int, Mapping[str, Json]] | None = None  # a cache, until something is heard

    def asked(self, trial: Trial) -> None:
        """A trial runs: one that was suggested here, or anybody's."""
        self._member = None
        if not trial.full:
            return  # a rung says less than a training
        distributions = {name: self.table.distributions[name] for name in trial.candidate}
        attributes = dict(trial.note.get("trial", {}))
        self._numbers[trial.id] = self.ledger.add(self.table.params(trial.candidate), distributions, attributes)
        self.ledger.attribute(trial.note.get("study", {}))
        if self.grid is not None:
            self.grid.take(trial.candidate, attributes)

    def told(self, result: Result) -> None:
        """A trial ended: with its values, as infeasible, or failed, of which Optuna's samplers learn nothing.

        Infeasible is what breaks a constraint; without values it is told with infinitely bad ones, which no sampler
        takes by their size.
        """
        self._member = None
        number = self._numbers.get(result.trial_id)
        if number is None:
            return
        infeasible = result.outcome is Outcome.INFEASIBLE
        found = gains(result.metrics, self.setting.objectives)
        values = None if found is None or not all(map(math.isfinite, found)) else [-gain for gain in found]
        if values is None and infeasible:
            values = [math.inf] * len(self.setting.objectives)
        self.ledger.end(number, values, self._violations(result))

    def _violations(self, result: Result) -> dict[str, float]:
        """By how much of itself each ceiling is exceeded, as far as the metrics say; negative where it is kept."""
        found = {
            metric: result.metrics[metric] / ceiling - 1
            for metric, ceiling in self.setting.ceilings.items()
            if math.isfinite(result.metrics.get(metric, math.nan))
        }
        if result.outcome is Outcome.INFEASIBLE and not any(value > 0 for value in found.values()):
            found["infeasible"] = 1.0  # out of memory, say
        return found

    def suggest(self, draw: Draw) -> Suggestion | None:
        """What the sampler would try next, None where its grid is at its end; nothing is changed."""
        if self.grid is not None:
            return self._from_grid(self.grid, draw.proposal)
        if draw.proposal >= (SLOW_REDRAWS if self.name == "gp" else REDRAWS):
            return Suggestion(self.setting.decisions.sample(draw.generator()), self._membership(draw))
        seeds = Seeds.of(draw.generator())
        suggestion, changed = self._ask(seeds, {}, {})
        if self.name == "qmc" and draw.proposal and changed:
            further = {key: value + draw.proposal - 1 for key, value in changed.items()}
            suggestion, _ = self._ask(seeds, {}, further)
        return suggestion

    def _membership(self, draw: Draw) -> Mapping[str, Json]:
        """What makes a drawn candidate a member of its generation."""
        if self.name not in GENETIC:
            return {}
        if self._member is None or self._member[0] != draw.trial:
            suggestion, _ = self._ask(Seeds.of(replace(draw, proposal=REDRAWS).generator()), {}, {})
            self._member = (draw.trial, suggestion.note)
        return self._member[1]

    def _from_grid(self, grid: Grid, place: int) -> Suggestion | None:
        """Number `place` of the grid's points that no trial has, those that differ in inactive decisions as one."""
        while (point := grid.waiting(place)) is None and (following := grid.following()) is not None:
            suggestion, _ = self._ask(Seeds(0, 0), {"grid_id": following}, {})
            grid.offer(following, suggestion.candidate)
        return None if point is None else Suggestion(point[1], {"trial": {"grid_id": point[0]}})

    def _ask(
        self, seeds: Seeds, given: Mapping[str, Json], supposed: Mapping[str, Json]
    ) -> tuple[Suggestion, dict[str, Any]]:
        """What a sampler with these seeds suggests, and which attributes of the study it would change."""
        self.ledger.given = given
        self.ledger.suppose(supposed)
        with quiet(), self._alone():
            self.study.sampler = self._sampler(seeds)
            try:
                candidate = self.table.walk(self.study.ask())
            finally:
                trial, changed = self.ledger.withdraw()
        note: dict[str, Json] = {}
        if attributes := _kept(trial.system_attrs, trial.params):
            note["trial"] = attributes
        if changed:
            note["study"] = changed
        return Suggestion(candidate, note), changed

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let the Gaussian process take one thread: what took it 17 s took two, on cores with other work, 155 s."""
        if self.name != "gp":
            yield
            return
        from nas.surrogates import threads

        with threads.on_one_thread(), on_one_thread():
            yield

    def _sampler(self, seeds: Seeds) -> BaseSampler:
        if self.grid is not None:
            return self.grid.sampler
        if self.lineage is not None:
            return CovarianceSampler(self.lineage, RandomSampler(seeds.independent), seeds.joint)
        distributions = self.table.distributions
        shared = {name: distributions[name] for name in self.ledger.shared() if not distributions[name].single()}
        return build(self.name, self.options, seeds, self.constant, shared)


def _kept(attributes: Mapping[str, Json], params: Mapping[str, Any]) -> dict[str, Json]:
    """The attributes worth a journal: what was sampled jointly is, where some of it became no parameter."""
    relative = "".join(value for key, value in attributes.items() if key.startswith(RELATIVE))
    if relative and set(json.loads(relative)) <= set(params):
        return {key: value for key, value in attributes.items() if not key.startswith(RELATIVE)}
    return dict(attributes)
