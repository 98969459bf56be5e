"""Pairs: two sides of an image, of which one is to become the other, made from the image itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

WEIGHTS: Final = (0.299, 0.587, 0.114)  # of red, green and blue in the luminance of ITU-R BT.601


def grey(images: Tensor) -> Tensor:
    """The luminance of images (batch, 1 or 3, height, width), as one channel."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(WEIGHTS, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def edges(images: Tensor) -> Tensor:
    """The size of Sobel's gradient of the luminance, a quarter of it, at most 1, as one channel; the border goes on."""
    rows = torch.tensor([[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]], device=images.device)
    kernels = torch.stack([rows, rows.T])[:, None]
    slopes = functional.conv2d(functional.pad(grey(images), (1, 1, 1, 1), "replicate"), kernels)
    return (slopes.square().sum(dim=1, keepdim=True).sqrt() / 4).clamp(max=1)


def masked(images: Tensor) -> Tensor:
    """Without the square in the middle, half as high and wide, which is grey (Pathak et al., CVPR 2016)."""
    height, width = images.shape[2:]
    top, left = height // 4, width // 4
    found = images.clone()
    found[:, :, top : height - top, left : width - left] = 0.5
    return found


def small(images: Tensor) -> Tensor:
    """At half the resolution, each pixel the mean of four, spread over the place of the image again."""
    size = (images.shape[2], images.shape[3])
    least = functional.interpolate(images, (max(1, size[0] // 2), max(1, size[1] // 2)), mode="area")
    return functional.interpolate(least, size, mode="nearest")


def whole(images: Tensor) -> Tensor:
    """As they are."""
    return images


def inverted(images: Tensor) -> Tensor:
    """Their negatives."""
    return 1 - images


def outlined(images: Tensor) -> Tensor:
    """Their edges, in as many channels as they have."""
    return edges(images).expand_as(images)


SOURCES: Final[Mapping[str, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {"grey_to_colour": grey, "edges_to_image": edges, "masked_to_whole": masked, "small_to_large": small}
)
DOMAINS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {"whole": whole, "inverted": inverted, "masked": masked, "small": small, "edges": outlined}
)


def shown_in(images: Tensor, domain: Tensor, names: tuple[str, ...]) -> Tensor:
    """Each image as its domain, a number of one of `names`, has it."""
    sides = torch.stack([DOMAINS[name](images) for name in names])
    return sides[domain, torch.arange(len(images), device=images.device)]


def signed(images: Tensor) -> Tensor:
    """From intensities in [0, 1] to [-1, 1], as networks read them."""
    return 2 * images - 1


def intensity(images: Tensor) -> Tensor:
    """From [-1, 1] to intensities in [0, 1]."""
    return (images + 1) / 2
