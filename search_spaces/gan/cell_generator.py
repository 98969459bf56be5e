"""CellGenerator: cells that enlarge a map step by step, as searched by AutoGAN (Gong et al., ICCV 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor, nn

from search_spaces.gan.conditions import BATCH, entered, entry_of, norm_of, normed
from search_spaces.gan.first_weights import begin_xavier
from search_spaces.gan.plain_generator import enlarged

PRE, TRANSPOSED = "pre", "transposed"


@final
class GeneratorCell(nn.Module):
    """A map (batch, width, h, w) -> its inner and its outer map, both (batch, width, 2 h, 2 w).

    `cell`: `order` (`pre`: normalisation and ReLU before each of both 3x3 convolutions; `post`: behind), `norm`,
    `upsampling` (`bilinear`, `nearest`, `transposed`) in front of the first convolution, `shortcut` (the input,
    enlarged, through a 1x1 convolution, added to the outer map), and `skips`: the stages before this one, counted
    from 1, whose inner maps are enlarged and, through a 1x1 convolution, added to this one's.
    """

    def __init__(self, width: int, stage: int, cell: Mapping[str, Any], label: Mapping[str, int] | None) -> None:
        super().__init__()
        self.pre = cell["order"] == PRE
        kind: str = cell["upsampling"]
        self.enlarge = upsampling(kind, width, 1)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.norms = nn.ModuleList([norm_of(cell["norm"], width, label) for _ in range(2)])
        self.activation = nn.ReLU()
        self.shortcut = _reached(kind, width, 1) if cell["shortcut"] else None
        self.skips = nn.ModuleDict({str(one): _reached(kind, width, stage - one) for one in cell["skips"]})

    def forward(self, image: Tensor, before: Sequence[Tensor], label: Tensor | None) -> tuple[Tensor, Tensor]:
        inner = self.convolved(image, 0, label)
        for source, skip in self.skips.items():
            inner = inner + skip(before[int(source) - 1])
        outer = self.convolved(inner, 1, label)
        return inner, outer if self.shortcut is None else outer + self.shortcut(image)

    def convolved(self, image: Tensor, number: int, label: Tensor | None) -> Tensor:
        """`image` through the first or the second convolution, with what belongs to it."""
        if self.pre:
            image = self.activation(normed(self.norms[number], image, label))
        image = self.second(image) if number else self.first(self.enlarge(image))
        return image if self.pre else self.activation(normed(self.norms[number], image, label))


@final
class CellGenerator(nn.Module):
    """Noise (batch, noise)[, label (batch,)] -> images (batch, channels, height, width) in [-1, 1].

    A linear layer makes a map of `width` channels and size `base`, each of the `cells` one twice as large; then come
    batch normalisation, ReLU, a 3x3 convolution and tanh, and every pixel `enlarge` times. `label` as in
    `PlainGenerator`. The first tensors of a network with one cell more have the names and shapes of those here.
    """

    def __init__(
        self,
        noise: int,
        base: Sequence[int],
        width: int,
        cells: Sequence[Mapping[str, Any]],
        channels: int,
        enlarge: int = 1,
        label: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.shape = (width, base[0], base[1])
        self.enlarge = enlarge
        self.entry = entry_of(label)
        inputs = noise + (label["embedding"] if label else 0)
        self.start = nn.Linear(inputs, width * base[0] * base[1])
        self.stages = nn.ModuleList([GeneratorCell(width, n, cell, label) for n, cell in enumerate(cells, start=1)])
        self.norm = norm_of(BATCH, width, label)
        self.activation = nn.ReLU()
        self.image = nn.Conv2d(width, channels, 3, padding=1)
        begin_xavier(self)

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        image: Tensor = self.start(entered(self.entry, noise, label)).unflatten(1, self.shape)
        inner: list[Tensor] = []
        for stage in self.stages:
            inside, image = stage(image, inner, label)
            inner.append(inside)
        image = self.activation(normed(self.norm, image, label))
        return enlarged(self.image(image).tanh(), self.enlarge)


def upsampling(kind: str, width: int, doublings: int) -> nn.Module:
    """A layer that makes a map 2**doublings times as large; the transposed convolutions do it one by one."""
    if kind == TRANSPOSED:
        return nn.Sequential(*(nn.ConvTranspose2d(width, width, 2, stride=2) for _ in range(doublings)))
    return nn.Upsample(scale_factor=float(2**doublings), mode=kind)


def _reached(kind: str, width: int, doublings: int) -> nn.Sequential:
    """A map of an earlier stage, enlarged and through a 1x1 convolution."""
    return nn.Sequential(upsampling(kind, width, doublings), nn.Conv2d(width, width, 1))
