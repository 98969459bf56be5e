"""Discriminators that give each image a score, of its own alone unless they have batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from search_spaces.gan.conditions import BATCH
from search_spaces.gan.encoders import CellEncoder, PlainEncoder, limit
from search_spaces.gan.first_weights import begin_normal, begin_xavier


@final
class PlainDiscriminator(nn.Module):
    """Images (batch, channels, height, width)[, labels (batch,)] -> scores (batch,), as in DCGAN.

    What `PlainEncoder` sees, weighed by a convolution over all of it (`base`: its size). With `classes`, the sum of
    each channel is projected on a vector of the class as well (Miyato & Koyama, ICLR 2018).
    """

    reconstructs = False

    def __init__(
        self,
        channels: int,
        base: Sequence[int],
        widths: Sequence[int],
        norm: str,
        dropout: float,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = PlainEncoder(channels, widths, norm, dropout)
        self.score = nn.Conv2d(widths[-1], 1, (base[0], base[1]), bias=norm != BATCH)
        self.classes = nn.Embedding(classes, widths[-1]) if classes else None
        begin_normal(self)
        limit(self, norm)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        seen = self.encoder(image)
        score: Tensor = self.score(seen).flatten()
        return score + projection(self.classes, seen.sum(dim=(2, 3)), label)


@final
class CellDiscriminator(nn.Module):
    """Images (batch, channels, height, width)[, labels (batch,)] -> scores (batch,), as in AutoGAN.

    The sum of each channel of what `CellEncoder` sees, weighed without a bias, and projected on a vector of the class
    where there are `classes`.
    """

    reconstructs = False

    def __init__(
        self, channels: int, width: int, pools: Sequence[str | None], norm: str, dropout: float, classes: int = 0
    ) -> None:
        super().__init__()
        self.encoder = CellEncoder(channels, width, pools, norm, dropout)
        self.score = nn.Linear(width, 1, bias=False)
        self.classes = nn.Embedding(classes, width) if classes else None
        begin_xavier(self)
        limit(self, norm)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        seen = self.encoder(image).sum(dim=(2, 3))
        score: Tensor = self.score(seen).flatten()
        return score + projection(self.classes, seen, label)


def projection(classes: nn.Module | None, seen: Tensor, label: Tensor | None) -> Tensor:
    """The inner product of each row of `seen` with its class's vector; zeros without classes."""
    if classes is None:
        return seen.new_zeros(len(seen))
    vectors: Tensor = classes(label)
    return (vectors * seen).sum(dim=1)
