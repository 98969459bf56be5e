"""Seeds, Apart, build: one of Optuna's samplers, fresh for one ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, final

from optuna import samplers
from optuna.samplers import BaseSampler, nsgaii

from workers.trial import Json

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

CROSSOVERS = {
    "blxalpha": nsgaii.BLXAlphaCrossover,
    "spx": nsgaii.SPXCrossover,
    "sbx": nsgaii.SBXCrossover,
    "vsbx": nsgaii.VSBXCrossover,
    "undx": nsgaii.UNDXCrossover,
}


@final
@dataclass(frozen=True, slots=True)
class Seeds:
    """Seeds for one ask: of what is sampled jointly, and of what is sampled parameter by parameter."""

    joint: int
    independent: int

    @classmethod
    def of(cls, generator: Random) -> Seeds:
        """The next two numbers of `generator`."""
        return cls(generator.getrandbits(32), generator.getrandbits(32))


@final
class Apart(BaseSampler):
    """`joint`, with what is independent drawn by `independent`, and told which parameters all completed trials have.

    The genetic samplers seed both of their generators alike. Asked once per seed, they would draw a mutated value
    with the very number that decided on the crossover, so that no child of two parents had one in the last tenth. And
    a fresh sampler compares all parameters of all trials to find `shared`, which at 1,000 trials is half of TPE's time.
    """

    def __init__(self, joint: BaseSampler, independent: BaseSampler, shared: Mapping[str, BaseDistribution]) -> None:
        self.joint = joint
        self.independent = independent
        self.shared = dict(shared)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.shared

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.joint.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.independent.sample_independent(study, trial, param_name, param_distribution)


def build(
    name: str, options: Mapping[str, Json], seeds: Seeds, constant: int, shared: Mapping[str, BaseDistribution]
) -> BaseSampler:
    """The sampler with these options.

    `constant` is the seed of what is one sequence in the whole study, `shared` has the parameters that can be
    modelled jointly: of more than one value, and in every completed trial.
    """
    given = dict(options)
    independent = samplers.RandomSampler(seed=seeds.independent)
    if name == "random":
        return independent
    if name == "tpe":
        tpe = samplers.TPESampler(seed=seeds.joint, **given)
        return Apart(tpe, tpe, shared) if given["multivariate"] and not given["group"] else tpe
    if name == "gp":
        given.pop("trials_at_most")
        gp = samplers.GPSampler(seed=seeds.joint, **given)
        return Apart(gp, independent, shared)
    if name == "qmc":
        return samplers.QMCSampler(
            seed=constant, independent_sampler=independent, warn_independent_sampling=False, **given
        )
    crossover, mutation = given.pop("crossover"), given.pop("mutation")
    given["crossover"] = CROSSOVERS[crossover]() if crossover in CROSSOVERS else None
    given["mutation"] = nsgaii.PolynomialMutation() if mutation else None
    genetic = samplers.NSGAIISampler if name == "nsgaii" else samplers.NSGAIIISampler
    return Apart(genetic(seed=seeds.joint, **given), independent, shared)
