"""Mirroring, shifting and blanking of a whole batch of images at once, drawn from an explicit generator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def flip_and_crop(images: Tensor, flip: bool, padding: int, generator: torch.Generator) -> Tensor:
    """Each image mirrored with probability a half, padded by `padding` blank pixels and cut at a random place.

    `images` and the answer are `(batch, channels, height, width)`, of any type; `generator` lives on the CPU.
    """
    if not flip and not padding:
        return images
    batch, channels, height, width = images.shape
    places = torch.randint(2 * padding + 1, (batch, 2), generator=generator)
    mirrored = torch.rand(batch, 1, generator=generator) < (0.5 if flip else 0.0)
    rows = places[:, :1] + torch.arange(height)
    along = torch.arange(width)
    columns = places[:, 1:] + torch.where(mirrored, width - 1 - along, along)
    index = (rows * (width + 2 * padding)).unsqueeze(2) + columns.unsqueeze(1)
    index = index.reshape(batch, 1, height * width).to(images.device, non_blocking=True)
    padded = functional.pad(images, (padding, padding, padding, padding)).flatten(2)
    return padded.gather(2, index.expand(batch, channels, -1)).view_as(images)


def cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Each image with a square of `side` pixels set to 0 around a random pixel, cut off at the border.

    DeVries & Taylor 2017. `images` are normalised, so that 0 is the mean; `generator` lives on the CPU.
    """
    if not side:
        return images
    batch, _, height, width = images.shape

    def outside(extent: int) -> Tensor:
        start = torch.randint(extent, (batch, 1), generator=generator) - side // 2
        along = torch.arange(extent)
        return (along < start) | (along >= start + side)

    kept = outside(height).unsqueeze(2) | outside(width).unsqueeze(1)
    return images * kept.unsqueeze(1).to(images.device, images.dtype, non_blocking=True)
