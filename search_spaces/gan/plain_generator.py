"""PlainGenerator: transposed convolutions from noise to an image, as in DCGAN (Radford et al., ICLR 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import final

from torch import Tensor, nn
from torch.nn import functional

from search_spaces.gan.conditions import BATCH, entered, entry_of, norm_of, normed
from search_spaces.gan.first_weights import begin_normal


@final
class PlainGenerator(nn.Module):
    """Noise (batch, noise)[, label (batch,)] -> images (batch, channels, height, width) in [-1, 1].

    `base` is the size of the first map, `widths` the filters of this and of each next one, twice as large; behind the
    last comes the image, twice as large again, and `enlarge` times as large by repeated pixels. Every map has
    batch normalisation and ReLU, the image tanh; no layer has a bias. `label`: `classes`, and the size of the
    `embedding` beside the noise, 0 for conditional normalisation.
    """

    def __init__(
        self,
        noise: int,
        base: Sequence[int],
        widths: Sequence[int],
        channels: int,
        enlarge: int = 1,
        label: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.entry = entry_of(label)
        inputs = noise + (label["embedding"] if label else 0)
        first = nn.ConvTranspose2d(inputs, widths[0], (base[0], base[1]), bias=False)
        self.stages = nn.ModuleList([first])
        for before, width in pairwise(widths):
            self.stages.append(nn.ConvTranspose2d(before, width, 4, stride=2, padding=1, bias=False))
        self.norms = nn.ModuleList([norm_of(BATCH, width, label) for width in widths])
        self.activation = nn.ReLU()
        self.image = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1, bias=False)
        begin_normal(self)

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        image = entered(self.entry, noise, label)[:, :, None, None]
        for stage, norm in zip(self.stages, self.norms, strict=True):
            image = self.activation(normed(norm, stage(image), label))
        return enlarged(self.image(image).tanh(), self.enlarge)


def enlarged(image: Tensor, factor: int) -> Tensor:
    """`image`, every pixel repeated `factor` times in both directions."""
    return image if factor == 1 else functional.interpolate(image, scale_factor=float(factor), mode="nearest")
