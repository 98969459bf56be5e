"""GanNetwork: a generator and the discriminator that judges its images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from search_spaces.space import Blueprint


@final
class GanNetwork(nn.Module):
    """Noise (batch, noise)[, label (batch,)] -> images (batch, channels, height, width) in [-1, 1].

    `generator` and `discriminator` are blueprints as mappings (`network`, `arguments`). `reconstructs` says what the
    discriminator gives: a score (batch,), or, where it is an auto-encoder, images.
    """

    def __init__(self, generator: Mapping[str, Any], discriminator: Mapping[str, Any]) -> None:
        super().__init__()
        self.generator = Blueprint(**generator).build()
        self.discriminator = Blueprint(**discriminator).build()
        self.reconstructs = bool(self.discriminator.reconstructs)

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        image: Tensor = self.generator(noise) if label is None else self.generator(noise, label)
        return image
