"""Latent: what a generator is given, noise and, where it is conditional, classes; and the way between two noises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class Latent:
    """`size` numbers, N(0, 1), or `even` in [-1, 1]; `classes` is None without labels."""

    size: int
    even: bool = False
    classes: int | None = None

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, size), drawn on the CPU."""
        if self.even:
            return torch.rand(count, self.size, generator=generator) * 2 - 1
        return torch.randn(count, self.size, generator=generator)

    def between(self, start: Tensor, end: Tensor, steps: int) -> Tensor:
        """(steps, size) from `start` to `end`.

        Along a circle for normal noise, which lies near a sphere (White 2016, arXiv 1609.04468), else on a line.
        """
        places = torch.linspace(0, 1, steps)[:, None]
        if self.even:
            return torch.lerp(start, end, places)
        cosine = torch.cosine_similarity(start, end, dim=0).clamp(-1, 1)
        angle = cosine.arccos()
        if float(angle.sin()) < 1e-3:  # hardly apart, or opposite: there is no one circle
            return torch.lerp(start, end, places)
        return (((1 - places) * angle).sin() * start + (places * angle).sin() * end) / angle.sin()


def given(noise: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
    """The inputs of a generator."""
    return (noise,) if labels is None else (noise, labels)
