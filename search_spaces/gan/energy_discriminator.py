"""EnergyDiscriminator: an auto-encoder as discriminator, whose energy is how badly it reconstructs an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import final

from torch import Tensor, nn

from search_spaces.gan.conditions import BATCH, entered, entry_of
from search_spaces.gan.encoders import PlainEncoder, batch_norm, limit
from search_spaces.gan.first_weights import begin_normal


@final
class EnergyDiscriminator(nn.Module):
    """Images (batch, channels, height, width)[, labels (batch,)] -> images in [-1, 1] (Zhao et al., ICLR 2017).

    `PlainEncoder`, a convolution over all of its map (`base`: the size) to a `code`, and a decoder that mirrors both
    by transposed convolutions. `label`: `classes`, and the size of the `embedding` that stands beside the code.
    """

    reconstructs = True

    def __init__(
        self,
        channels: int,
        base: Sequence[int],
        widths: Sequence[int],
        norm: str,
        dropout: float,
        code: int,
        label: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        biased, size = norm != BATCH, (base[0], base[1])
        self.encoder = PlainEncoder(channels, widths, norm, dropout)
        self.code = nn.Conv2d(widths[-1], code, size, bias=biased)
        self.entry = entry_of(label)
        inputs = code + (label["embedding"] if label else 0)
        self.layers = nn.ModuleList([nn.ConvTranspose2d(inputs, widths[-1], size, bias=biased)])
        backwards = [*reversed(widths)]
        for before, width in pairwise(backwards):
            self.layers.append(nn.ConvTranspose2d(before, width, 4, stride=2, padding=1, bias=biased))
        self.norms = nn.ModuleList([batch_norm(norm, width) for width in backwards])
        self.activation = nn.LeakyReLU(0.2)
        self.image = nn.ConvTranspose2d(widths[0], channels, 4, stride=2, padding=1, bias=biased)
        begin_normal(self)
        limit(self, norm)

    def encode(self, image: Tensor) -> Tensor:
        """The codes (batch, code) of images, which the repelling term of an energy-based objective compares."""
        code: Tensor = self.code(self.encoder(image))
        return code.flatten(1)

    def decode(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        """The images of codes."""
        image = entered(self.entry, code, label)[:, :, None, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            image = self.activation(norm(layer(image)))
        made: Tensor = self.image(image)
        return made.tanh()

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(image), label)
