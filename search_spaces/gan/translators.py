"""Generators that translate an image: U-Net, its encoder-decoder, and a residual network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.gan.first_weights import begin_normal

DROPPED = 3  # innermost layers of a U-Net's decoder behind which is dropped


@final
class UNet(nn.Module):
    """Images (batch, inputs, height, width) in [-1, 1][, domains (batch,)] -> (batch, outputs, height, width).

    Each layer, of `widths` filters, halves height and width; each of as many behind them doubles these and reads the
    layer of its size, too; without `skips` it does not (Isola et al., "Image-to-Image Translation with Conditional
    Adversarial Networks", CVPR 2017, 6.1). `image` is (inputs, height, width). A domain out of `domains` is told in as
    many planes.
    """

    def __init__(
        self,
        image: Sequence[int],
        outputs: int,
        widths: Sequence[int],
        norm: str = "batch",
        skips: bool = True,
        dropout: float = 0.0,
        domains: int = 0,
    ) -> None:
        super().__init__()
        self.skips, self.domains = skips, domains
        depth = len(widths)
        sizes = [(image[1] >> place, image[2] >> place) for place in range(depth + 1)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        bias, channels = norm != "batch" and norm != "affine", image[0] + domains
        for place, filters in enumerate(widths):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if place else []
            layers.append(nn.Conv2d(channels, filters, 4, 2, 1, bias=bias))
            if 0 < place < depth - 1:
                layers.extend(normalisation(norm, filters))
            self.down.append(nn.Sequential(*layers))
            channels = filters
        for place in reversed(range(depth)):
            odd = (sizes[place][0] % 2, sizes[place][1] % 2)
            filters = widths[place - 1] if place else outputs
            layers = [nn.ReLU(), nn.ConvTranspose2d(channels, filters, 4, 2, 1, odd, bias=bias or not place)]
            if place:
                layers.extend(normalisation(norm, filters))
                if dropout and depth - place <= DROPPED:
                    layers.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*layers))
            channels = filters * (2 if skips else 1)
        if norm != "affine":
            begin_normal(self)

    def forward(self, image: Tensor, domain: Tensor | None = None) -> Tensor:
        maps = [told(image, domain, self.domains)]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        found = maps.pop()
        for number, layer in enumerate(self.up):
            found = layer(found if number == 0 or not self.skips else torch.cat([maps[-number], found], dim=1))
        return found.tanh()


@final
class ResidualTranslator(nn.Module):
    """Images (batch, inputs, height, width) in [-1, 1][, domains (batch,)] -> (batch, outputs, height, width).

    The first layer keeps height and width, the next ones halve them, `widths` being the filters of all these; `blocks`
    residual ones follow, and as many that double them again (Johnson et al., ECCV 2016, as in Zhu et al., "Unpaired
    Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017, with two that halve). With
    `domains` as Choi et al., "StarGAN", CVPR 2018, table 4: kernels of 4 where the size changes, zeros as padding.
    """

    def __init__(
        self,
        image: Sequence[int],
        outputs: int,
        widths: Sequence[int],
        blocks: int,
        norm: str = "instance",
        dropout: float = 0.0,
        domains: int = 0,
    ) -> None:
        super().__init__()
        self.domains = domains
        kernel, bias = 4 if domains else 3, norm != "batch" and norm != "affine"
        layers = [
            *bordered(image[0] + domains, widths[0], 7, domains, bias),
            *normalisation(norm, widths[0]),
            nn.ReLU(),
        ]
        sizes = [tuple(image[1:])]
        for width, wider in pairwise(widths):
            layers.append(nn.Conv2d(width, wider, kernel, 2, 1, bias=bias))
            layers.extend([*normalisation(norm, wider), nn.ReLU()])
            sizes.append(tuple((side + 2 - kernel) // 2 + 1 for side in sizes[-1]))
        layers.extend(Residual(widths[-1], norm, dropout, domains) for _ in range(blocks))
        for place in reversed(range(len(widths) - 1)):
            ends = zip(sizes[place], sizes[place + 1], strict=True)
            odd = [wide - (2 * (narrow - 1) - 2 + kernel) for wide, narrow in ends]
            up = nn.ConvTranspose2d(widths[place + 1], widths[place], kernel, 2, 1, (odd[0], odd[1]), bias=bias)
            layers.extend([up, *normalisation(norm, widths[place]), nn.ReLU()])
        layers.extend(bordered(widths[0], outputs, 7, domains, not domains))
        self.layers = nn.Sequential(*layers, nn.Tanh())
        if norm != "affine":
            begin_normal(self)

    def forward(self, image: Tensor, domain: Tensor | None = None) -> Tensor:
        translated: Tensor = self.layers(told(image, domain, self.domains))
        return translated


@final
class Residual(nn.Module):
    """Two 3x3 convolutions, whose result is added to what they read."""

    def __init__(self, width: int, norm: str, dropout: float, domains: int) -> None:
        super().__init__()
        bias = norm != "batch" and norm != "affine"
        self.layers = nn.Sequential(
            *bordered(width, width, 3, domains, bias),
            *normalisation(norm, width),
            nn.ReLU(),
            *([nn.Dropout(dropout)] if dropout else []),
            *bordered(width, width, 3, domains, bias),
            *normalisation(norm, width),
        )

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = image + self.layers(image)
        return found


def told(image: Tensor, domain: Tensor | None, domains: int) -> Tensor:
    """The image with planes behind it, that of its domain being 1 and the others 0."""
    if domain is None:
        return image
    planes = (domain[:, None] == torch.arange(domains, device=domain.device)).to(image.dtype)
    return torch.cat([image, planes[:, :, None, None].expand(-1, -1, *image.shape[2:])], dim=1)


def normalisation(norm: str, width: int) -> list[nn.Module]:
    """`batch`, `instance` (without scale and shift), `affine` (by instance, with them), or `none`."""
    if norm == "batch":
        return [nn.BatchNorm2d(width)]
    return [] if norm == "none" else [nn.InstanceNorm2d(width, affine=norm == "affine")]


def bordered(inputs: int, outputs: int, kernel: int, domains: int, bias: bool) -> list[nn.Module]:
    """A convolution that keeps height and width: the border is mirrored, with domains zeros."""
    if domains:
        return [nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=bias)]
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, bias=bias)]
