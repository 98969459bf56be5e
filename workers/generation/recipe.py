"""GenerationRecipe: how a generator and a discriminator are trained against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, TypeVar

from search_spaces.decision import Choice, Decision, Range
from search_spaces.decisions import Candidate, Decisions
from search_spaces.gan.objectives import ENERGIES, SCORES
from workers.recipe import Recipe

R = TypeVar("R", bound="GenerationRecipe")


@dataclass(frozen=True, kw_only=True)
class GenerationRecipe(Recipe):
    """Further settings of an adversarial training; those of `Recipe` are for both networks.

    The discriminator takes `critic_steps` steps for each of the generator's, at `discriminator_rate` times its learning
    rate. `beta1` and `beta2` are those of adam and adamw. `averaging` is the decay of a moving average of the
    generator's weights, which is then what is judged and handed over; 0 for none.

    Against an overconfident discriminator: `label_smoothing` lowers real images' label of 1 (minimax, non_saturating,
    least_squares), `label_noise` is the share of pairs of a real and a generated image that change sides,
    `instance_noise` the deviation of noise on all images that it sees, falling to 0 along the schedule, `replay` the
    share of its generated images that are older ones, out of the last `replay_size` kept.

    `penalty` weighs the gradient penalty, and the distances of loss_sensitive. `clipping` bounds the weights under
    wasserstein_clipping. `margin` is that of energy_based, and what loss_sensitive multiplies distances by. `diversity`
    weighs the pulling-away term of energy_based, `equilibrium` is the ratio that boundary_equilibrium holds, `gain`
    how fast it balances: what a step adds to its weight of generated images, per lacking energy.
    """

    optimizer: str = "adam"
    learning_rate: float = 2e-4
    schedule: str = "constant"
    weight_decay: float = 0.0
    gradient_clipping: float = 0.0
    batch_size: int = 64
    objective: str = "non_saturating"
    critic_steps: int = 1
    discriminator_rate: float = 1.0
    beta1: float = 0.5
    beta2: float = 0.999
    averaging: float = 0.0
    label_smoothing: float = 0.0
    label_noise: float = 0.0
    instance_noise: float = 0.0
    replay: float = 0.0
    replay_size: int = 256
    penalty: float = 10.0
    clipping: float = 0.01
    margin: float = 1.0
    diversity: float = 0.1
    equilibrium: float = 0.5
    gain: float = 0.001

    rules: ClassVar[Mapping[str, Decision]] = MappingProxyType(
        {
            **Recipe.rules,
            "objective": Choice((*SCORES, *ENERGIES)),
            "critic_steps": Range(1, 100, integer=True),
            "discriminator_rate": Range(1e-3, 1e3),
            "beta1": Range(0.0, 0.9999),
            "beta2": Range(0.0, 0.999999),
            "averaging": Range(0.0, 0.999999),
            "label_smoothing": Range(0.0, 0.5),
            "label_noise": Range(0.0, 0.5),
            "instance_noise": Range(0.0, 10.0),
            "replay": Range(0.0, 1.0),
            "replay_size": Range(2, 1 << 20, integer=True),
            "penalty": Range(1e-6, 1e6),
            "clipping": Range(1e-6, 1e3),
            "margin": Range(0.0, 1e6),
            "diversity": Range(0.0, 1e6),
            "equilibrium": Range(1e-3, 1.0),
            "gain": Range(1e-6, 1.0),
        }
    )

    @cached_property
    def decisions(self) -> Decisions:
        """What was left open, and `objective` in any case: decisions of a space may look at it."""
        opened = super().decisions
        fixed = {} if "objective" in opened else {"objective": Choice((self.objective,))}
        return Decisions({**fixed, **opened}, partial=True)

    def closed(self: R, candidate: Candidate) -> R:
        """As any recipe's; an objective that is fixed stays, whether `candidate` repeats it or not."""
        closed = super().closed(candidate)
        return closed if isinstance(self.objective, Mapping) else replace(closed, objective=self.objective)
