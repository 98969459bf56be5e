"""Discriminators that judge an image patch by patch."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from search_spaces.gan.first_weights import begin_normal
from search_spaces.gan.translators import normalisation

WIDEST = 8  # times the width of the first layer


@final
class PatchDiscriminator(nn.Module):
    """Images (batch, channels, height, width)[, what they were made from] -> scores (batch, 1, rows, columns).

    `layers` convolutions with stride 2 and two without (Isola et al. 2017, 6.1.2): 3 judge patches of 70x70 pixels.
    `inputs` are all channels that it reads.
    """

    def __init__(self, inputs: int, width: int, layers: int, norm: str = "batch") -> None:
        super().__init__()
        self.inputs = inputs
        widths = [width * min(2**place, WIDEST) for place in range(layers + 1)]
        found: list[nn.Module] = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for place in range(1, layers + 1):
            stride = 2 if place < layers else 1
            found.append(nn.Conv2d(widths[place - 1], widths[place], 4, stride, 1, bias=norm != "batch"))
            found.extend([*normalisation(norm, widths[place]), nn.LeakyReLU(0.2)])
        self.layers = nn.Sequential(*found, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        begin_normal(self)

    def forward(self, image: Tensor, source: Tensor | None = None) -> Tensor:
        scores: Tensor = self.layers(image if source is None else torch.cat([source, image], dim=1))
        return scores


@final
class DomainDiscriminator(nn.Module):
    """Images (batch, channels, height, width) -> scores (batch, 1, rows, columns); `both` says their domains, too.

    Convolutions that halve height and width, `layers` of them (Choi et al., "StarGAN", CVPR 2018, table 5).
    `size` is (height, width).
    """

    def __init__(self, inputs: int, width: int, layers: int, domains: int, size: tuple[int, int]) -> None:
        super().__init__()
        found: list[nn.Module] = []
        for _ in range(layers):
            found.extend([nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.01)])
            inputs, width = width, 2 * width
        self.layers = nn.Sequential(*found)
        self.score = nn.Conv2d(inputs, 1, 3, 1, 1, bias=False)
        self.domain = nn.Conv2d(inputs, domains, (size[0] >> layers, size[1] >> layers), bias=False)

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, and logits of the domains (batch, domains)."""
        maps = self.layers(image)
        return self.score(maps), self.domain(maps).flatten(1)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.score(self.layers(image))
        return scores
