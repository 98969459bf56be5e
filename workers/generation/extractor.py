"""Extractor: what turns images into features and logits, by which generated images are judged."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

AT_ONCE = 500


class Extractor(nn.Module):
    """Images (batch, channels, height, width) in [-1, 1] -> features (batch, `width`) and logits (batch, classes)."""

    width: int

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits."""


@torch.no_grad()
def seen(extractor: Extractor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of any number of images, on the CPU."""
    found = [extractor(some) for some in torch.split(images, AT_ONCE)]
    features, logits = (torch.cat(side).cpu() for side in zip(*found, strict=True))
    return features, logits
