"""What a discriminator sees in an image: strided convolutions, or cells with pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from search_spaces.gan.conditions import BATCH

SPECTRAL = "spectral"


def batch_norm(norm: str, channels: int) -> nn.Module:
    """Batch normalisation where `norm` is `batch`."""
    return nn.BatchNorm2d(channels) if norm == BATCH else nn.Identity()


@final
class PlainEncoder(nn.Module):
    """Images (batch, channels, height, width) -> maps (batch, widths[-1], height / 2**n, width / 2**n), n `widths`.

    DCGAN's: convolutions of 4x4 with stride 2, LeakyReLU of 0.2, batch normalisation but not of the first map; biases
    only where `norm` is not `batch`. `dropout` is of whole channels, behind every activation.
    """

    def __init__(self, channels: int, widths: Sequence[int], norm: str, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for before, width in zip([channels, *widths], widths, strict=False):
            self.layers.append(nn.Conv2d(before, width, 4, stride=2, padding=1, bias=norm != BATCH))
        first = nn.Identity()
        self.norms = nn.ModuleList([first, *(batch_norm(norm, width) for width in widths[1:])])
        self.activation = nn.LeakyReLU(0.2)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, image: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            image = self.dropout(self.activation(norm(layer(image))))
        return image


@final
class EncoderCell(nn.Module):
    """Activation and 3x3 convolution twice, and a shortcut; both halved by `pool` where that is named.

    The first cell of a network reads the image as it is; one that neither halves nor changes the channels adds its
    input itself.
    """

    def __init__(self, inputs: int, width: int, norm: str, pool: str | None, first: bool) -> None:
        super().__init__()
        self.before = nn.Identity() if first else nn.Sequential(batch_norm(norm, inputs), nn.ReLU())
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.between = nn.Sequential(batch_norm(norm, width), nn.ReLU())
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.pool = _pool(pool)
        self.shortcut = nn.Conv2d(inputs, width, 1) if pool or inputs != width else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        inner = self.second(self.between(self.first(self.before(image))))
        joined: Tensor = self.pool(inner) + self.shortcut(self.pool(image))
        return joined


@final
class CellEncoder(nn.Module):
    """Images (batch, channels, height, width) -> maps (batch, width, height / 2**n, width / 2**n), n `pools` not null.

    AutoGAN's: one cell per entry of `pools` (`average`, `max` or null); `dropout` is of whole channels of the last map.
    """

    def __init__(self, channels: int, width: int, pools: Sequence[str | None], norm: str, dropout: float) -> None:
        super().__init__()
        self.cells = nn.ModuleList()
        for number, pool in enumerate(pools):
            self.cells.append(EncoderCell(width if number else channels, width, norm, pool, first=number == 0))
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, image: Tensor) -> Tensor:
        for cell in self.cells:
            image = cell(image)
        seen: Tensor = self.dropout(self.activation(image))
        return seen


def limit(network: nn.Module, norm: str) -> None:
    """Divide the weights of layers by their largest singular values where `norm` is `spectral` (Miyato et al. 2018).

    By one step of power iteration per forward pass in training; the vectors that a discriminator projects on, too.
    """
    if norm == SPECTRAL:
        for layer in list(network.modules()):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
                spectral_norm(layer)


def _pool(pool: str | None) -> nn.Module:
    if pool is None:
        return nn.Identity()
    kinds: dict[str, Any] = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}
    made: nn.Module = kinds[pool](2)
    return made
