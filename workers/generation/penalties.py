"""What is asked of a discriminator or a generator besides: small gradients, small weights, images that differ."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workers.generation.adversarial import Encounter


def gradient_penalty(seen: Encounter) -> Tensor:
    """The mean of (norm - 1)^2 of the score's gradient by the image, between real and generated images.

    Each image lies at a place of its own, drawn evenly, on the line from a real to a generated one (Gulrajani et al.,
    NeurIPS 2017, algorithm 1); labels are those of the real ones.
    """
    place = torch.rand(len(seen.real), 1, 1, 1, generator=seen.generator).to(seen.real)
    between = torch.lerp(seen.fake, seen.real, place).detach().requires_grad_()
    (slope,) = torch.autograd.grad(seen.judge(between).sum(), between, create_graph=True)
    lengths: Tensor = slope.flatten(1).norm(dim=1)
    return (lengths - 1).square().mean()


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Bring all weights into [-bound, bound] (Arjovsky et al., ICML 2017, algorithm 1)."""
    for weight in network.parameters():
        weight.clamp_(-bound, bound)


def pulling_away(codes: Tensor) -> Tensor:
    """The mean squared cosine between different rows (Zhao et al., ICLR 2017, section 2.4); 0 for a single row."""
    count = len(codes)
    cosines = nn.functional.normalize(codes, dim=1, eps=1e-8)
    squared = (cosines @ cosines.T).square()
    return (squared.sum() - squared.diagonal().sum()) / max(1, count * (count - 1))
