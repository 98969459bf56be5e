"""Lineage, CovarianceSampler: CMA-ES as Optuna samples with it, its state told again instead of pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeAlias, final

import cmaes
import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from nas.samplers.cube import Cube, Place
from workers.trial import Json

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from nas.samplers.ledger import Ledger

Optimizer: TypeAlias = cmaes.CMA | cmaes.SepCMA | cmaes.CMAwM

GENERATION = "cma:generation"  # of the optimizer that a trial was asked from
TOLD = "cma:told"  # the trials that were told to the optimizer before this one was asked,
BASE = "cma:base"  # whose optimizer that was (None: a new one)
MARGIN = "cma:asked"  # with a margin, the point as the optimizer is to hear it
KEPT = 16  # optimizers: a base is nearly always the newest, and the few before it while several trials run


@final
class Lineage:
    """The optimizer of every trial that told it a population, made again by telling.

    Such a trial has journaled which trials it told and whose optimizer it continued, so that the optimizer is that
    base's after hearing them; Optuna pickles the optimizer itself into the trial.
    """

    def __init__(self, ledger: Ledger, cube: Cube, options: Mapping[str, Json]) -> None:
        self.ledger = ledger
        self.cube = cube
        self.options = dict(options)
        self._known: dict[int, Optimizer] = {}  # a cache, by the trial's number

    def optimizer(self, base: int | None) -> Optimizer:
        """A copy of the optimizer that the trial number `base` left, a new one for None."""
        chain: list[int] = []
        while base is not None and base not in self._known:
            chain.append(base)
            base = self.ledger.trials[base].system_attrs[BASE]
        optimizer = self._new() if base is None else self._known[base]
        for number in reversed(chain):
            optimizer = deepcopy(optimizer)
            told = self.ledger.trials[number].system_attrs[TOLD]
            self.tell(optimizer, [self.ledger.trials[one] for one in told])
            self._known[number] = optimizer
            if len(self._known) > KEPT:
                del self._known[min(self._known)]
        return deepcopy(optimizer)  # which rounds as a pickle does: a symmetric matrix keeps one of its halves

    def tell(self, optimizer: Optimizer, trials: Sequence[FrozenTrial]) -> None:
        """Let `optimizer` hear a population."""
        optimizer.tell([(self._point(trial), trial.values[0]) for trial in trials])

    def _point(self, trial: FrozenTrial) -> Place:
        if self.options["with_margin"]:
            return np.array(trial.system_attrs[MARGIN])
        return self.cube.place(trial.params)

    def _new(self) -> Optimizer:
        dimension = len(self.cube.space)
        usual: dict[str, Any] = {
            "mean": np.full(dimension, 0.5),
            "sigma": 1 / 6,
            "bounds": np.array([[0.0, 1.0]] * dimension),
            "n_max_resampling": 10 * dimension,
            "population_size": self.options["popsize"],
            "seed": 0,  # each ask has its own
        }
        if self.options["use_separable_cma"] and dimension > 1:
            return cmaes.SepCMA(**usual)
        if self.options["with_margin"]:
            return cmaes.CMAwM(steps=self.cube.steps, **usual)
        return cmaes.CMA(lr_adapt=self.options["lr_adapt"], **usual)


@final
class CovarianceSampler(BaseSampler):
    """What Optuna's `CmaEsSampler` suggests, step by step, for the numbers that every trial has.

    Optuna takes the numbers that all completed trials happen to have, and goes on at random where those change. The
    rest is sampled by `independent`.
    """

    def __init__(self, lineage: Lineage, independent: BaseSampler, seed: int) -> None:
        self.lineage = lineage
        self.independent = independent
        self.seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self.lineage.cube.space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not search_space or len(completed) < max(1, self.lineage.options["n_startup_trials"]):
            return {}
        generator = np.random.RandomState(self.seed)
        base = next((one.number for one in reversed(completed) if TOLD in one.system_attrs), None)
        optimizer = self.lineage.optimizer(base)
        if base is None:
            generator.randint(1, 2**31 - 2)  # which Optuna spends on a new optimizer
        ledger = self.lineage.ledger
        waiting = [one for one in completed if one.system_attrs.get(GENERATION) == optimizer.generation]
        if len(waiting) >= optimizer.population_size:
            told = waiting[: optimizer.population_size]
            self.lineage.tell(optimizer, told)
            ledger.set_trial_system_attr(trial.number, BASE, base)
            ledger.set_trial_system_attr(trial.number, TOLD, [one.number for one in told])
        ledger.set_trial_system_attr(trial.number, GENERATION, optimizer.generation)
        optimizer.reseed_rng(int(generator.randint(1, 2**16)) + trial.number)
        if isinstance(optimizer, cmaes.CMAwM):
            place, heard = optimizer.ask()
            ledger.set_trial_system_attr(trial.number, MARGIN, heard.tolist())
            return self.lineage.cube.params(place)
        return self.lineage.cube.params(optimizer.ask())

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.independent.sample_independent(study, trial, param_name, param_distribution)
