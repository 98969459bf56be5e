"""How the class of an image enters a network: beside the noise or the code, or as what follows a normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

BATCH, INSTANCE = "batch", "instance"


@final
class BesideCode(nn.Module):
    """Codes (batch, size) and labels (batch,) -> (batch, size + embedding): a learned vector per class is appended."""

    def __init__(self, classes: int, embedding: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(classes, embedding)

    def forward(self, code: Tensor, label: Tensor) -> Tensor:
        return torch.cat([code, self.classes(label)], dim=1)


@final
class ClassNorm(nn.Module):
    """A normalisation whose gain and shift are those of the class (de Vries et al., NeurIPS 2017).

    Maps (batch, channels, height, width) and labels (batch,) -> maps. Where `norm` is `none`, gain and shift alone.
    """

    def __init__(self, norm: str, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = plain_norm(norm, channels, affine=False)
        self.gain = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        gain, shift = (table(label)[:, :, None, None] for table in (self.gain, self.shift))
        moved: Tensor = self.norm(image) * gain + shift
        return moved


def plain_norm(norm: str, channels: int, affine: bool = True) -> nn.Module:
    """The normalisation called `norm`; that by instance has no gain and shift, as in AutoGAN."""
    if norm == BATCH:
        return nn.BatchNorm2d(channels, affine=affine)
    return nn.InstanceNorm2d(channels) if norm == INSTANCE else nn.Identity()


def norm_of(norm: str, channels: int, label: Mapping[str, int] | None) -> nn.Module:
    """The normalisation called `norm`, of the class where `label` has classes and no embedding (see `entry_of`)."""
    if label is not None and not label["embedding"]:
        return ClassNorm(norm, channels, label["classes"])
    return plain_norm(norm, channels)


def entry_of(label: Mapping[str, int] | None) -> BesideCode | None:
    """What appends the class to a code; None where there is none, or the normalisations know it."""
    return BesideCode(label["classes"], label["embedding"]) if label is not None and label["embedding"] else None


def normed(norm: nn.Module, image: Tensor, label: Tensor | None) -> Tensor:
    """`image` after `norm`, which may need the label."""
    answer: Tensor = norm(image, label) if isinstance(norm, ClassNorm) else norm(image)
    return answer


def entered(entry: nn.Module | None, code: Tensor, label: Tensor | None) -> Tensor:
    """`code` with the class beside it, where there is an entry for it."""
    answer: Tensor = code if entry is None else entry(code, label)
    return answer
