"""Adversary: what a discriminator and the generator it judges lose, by the name of the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from workers.generation.adversarial import Encounter, Judge
from workers.generation.penalties import gradient_penalty
from workers.generation.scores import critic, cross_entropy, mistrusted, squares, squares_to_one, unsaturated


@final
@dataclass(frozen=True)
class Adversary:
    """Losses of scores, of whatever shape; `penalty` is that of wasserstein_penalty.

    A discriminator's cross entropy and squares are halved, which slows it (Isola et al. 2017, 3.3; Zhu et al. 2017, 4).
    """

    objective: str
    penalty: float

    def apart(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss, but for a gradient penalty."""
        if self.objective == "non_saturating":
            return 0.5 * cross_entropy(real, fake, 0.0)
        return squares(real, fake, 0.0) if self.objective == "least_squares" else critic(real, fake)

    def fooled(self, fake: Tensor) -> Tensor:
        """The generator's loss."""
        if self.objective == "non_saturating":
            return unsaturated(fake)
        return 2 * squares_to_one(fake) if self.objective == "least_squares" else mistrusted(fake)

    def smooth(
        self, network: nn.Module, real: Tensor, fake: Tensor, seen: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """The gradient penalty, where the objective has one; `seen` is what the discriminator sees besides."""
        if self.objective != "wasserstein_penalty" or not self.penalty:
            return real.new_zeros(())
        return self.penalty * gradient_penalty(Encounter(Judge(network, seen), real, fake, generator))
