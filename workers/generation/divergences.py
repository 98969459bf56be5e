"""f-divergences as objectives: Nowozin et al., "f-GAN", NeurIPS 2016, tables 2 and 6.

A score v becomes T = g(v), and E T(x) - E f*(T(G(z))) is a lower bound of the divergence of real from generated
images, tight where T(x) is f'(p(x) / q(x)). The discriminator raises the bound. The generator raises E T(G(z)) instead
of lowering the bound, as section 3.2 there proposes: its gradient does not vanish where the discriminator is sure.

Both sides are written in v, as a composition of f* with g, which does not overflow where g saturates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

from torch import Tensor
from torch.nn.functional import logsigmoid


@final
@dataclass(frozen=True)
class Divergence:
    """`activation` is g of the score, `conjugate` f* of that."""

    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]

    def bound(self, real: Tensor, fake: Tensor) -> Tensor:
        """The lower bound of the divergence that these scores give."""
        return self.activation(real).mean() - self.conjugate(fake).mean()

    def apart(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss."""
        return -self.bound(real, fake)

    def fooled(self, fake: Tensor) -> Tensor:
        """The generator's loss."""
        return -self.activation(fake).mean()


DIVERGENCES: Final = MappingProxyType(
    {
        "kl": Divergence(lambda v: v, lambda v: (v - 1).exp()),
        "reverse_kl": Divergence(lambda v: -(-v).exp(), lambda v: v - 1),
        "pearson": Divergence(lambda v: v, lambda v: v.square() / 4 + v),
        "hellinger": Divergence(lambda v: -(-v).expm1(), lambda v: v.expm1()),
        "jensen_shannon": Divergence(lambda v: math.log(2) + logsigmoid(v), lambda v: -math.log(2) - logsigmoid(-v)),
    }
)
