"""Objectives whose discriminator gives one score per image: cross entropy, squares, hinge, mean scores, distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from workers.generation.adversarial import AdversarialLoss, Encounter, Judge
from workers.generation.penalties import clip_weights, gradient_penalty


@final
@dataclass(frozen=True)
class Scored(AdversarialLoss):
    """An objective that only looks at scores: `apart(real, fake)` of the discriminator, `fooled(fake)`.

    `penalty` weighs the gradient penalty, `bound` is that of the discriminator's weights; 0 for none.
    """

    apart: Callable[[Tensor, Tensor], Tensor]
    fooled: Callable[[Tensor], Tensor]
    penalty: float = 0.0
    bound: float = 0.0

    def discriminator(self, seen: Encounter) -> Tensor:
        loss = self.apart(seen.judge(seen.real), seen.judge(seen.fake))
        return loss + self.penalty * gradient_penalty(seen) if self.penalty else loss

    def generator(self, judge: Judge, fake: Tensor) -> Tensor:
        return self.fooled(judge(fake))

    def limit(self, discriminator: nn.Module) -> None:
        if self.bound:
            clip_weights(discriminator, self.bound)


@final
@dataclass(frozen=True)
class LossSensitive(AdversarialLoss):
    """A real image's loss is to be below that of a generated one by their distance (Qi, IJCV 2020, arXiv 1701.06264).

    The loss function of the paper is minus the score, the distance `margin` times the mean absolute difference of the
    pixels. The paper's objective is divided by its lambda, `weight`, so that steps do not grow with it.
    """

    margin: float
    weight: float

    def discriminator(self, seen: Encounter) -> Tensor:
        real, fake = -seen.judge(seen.real), -seen.judge(seen.fake)
        apart = self.margin * (seen.real - seen.fake).abs().flatten(1).mean(1)
        return real.mean() / self.weight + relu(apart + real - fake).mean()

    def generator(self, judge: Judge, fake: Tensor) -> Tensor:
        return mistrusted(judge(fake))


def cross_entropy(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    """Minus E log D(x) + E log(1 - D(G(z))), D being the sigmoid of the score (Goodfellow et al., NeurIPS 2014).

    With one-sided smoothing (Salimans et al., NeurIPS 2016, section 3.4) a real image's label is 1 - `smoothing`.
    """
    real_loss = (1 - smoothing) * softplus(-real) + smoothing * softplus(real)
    return real_loss.mean() + softplus(fake).mean()


def saturated(fake: Tensor) -> Tensor:
    """E log(1 - D(G(z))): nearly flat where the discriminator is sure (Goodfellow et al. 2014, equation 1)."""
    return -softplus(fake).mean()


def unsaturated(fake: Tensor) -> Tensor:
    """Minus E log D(G(z)), steep where the discriminator is sure (Goodfellow et al. 2014, section 3)."""
    return softplus(-fake).mean()


def squares(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    """Least squares to the labels 1 and 0 (Mao et al., ICCV 2017, equation 9); a real one's is 1 - `smoothing`."""
    return 0.5 * (real - (1 - smoothing)).square().mean() + 0.5 * fake.square().mean()


def squares_to_one(fake: Tensor) -> Tensor:
    """Half the mean square of the way to the label of real images (Mao et al. 2017, equation 9)."""
    return 0.5 * (fake - 1).square().mean()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Scores apart by the margin 1 on both sides (Lim & Ye 2017, arXiv 1705.02894; Miyato et al., ICLR 2018)."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def critic(real: Tensor, fake: Tensor) -> Tensor:
    """Minus the estimate of the Wasserstein distance (Arjovsky et al., ICML 2017, equation 2)."""
    return fake.mean() - real.mean()


def mistrusted(fake: Tensor) -> Tensor:
    """Minus the mean score: the generator's loss of critics and of the hinge."""
    return -fake.mean()
