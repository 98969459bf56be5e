"""Inputs that a signature asks for, as tensors: where only shapes matter, and where values should not be alike."""

from __future__ import annotations

import torch
from torch import Tensor

from search_spaces.space import Signature


def blank(signature: Signature, batch: int, device: torch.device | str | None = None) -> tuple[Tensor, ...]:
    """Zeros, `batch` of each input, in the signature's order; whole numbers where it says so."""
    return tuple(
        torch.zeros(
            batch, *shape, device=device, dtype=torch.int64 if name in signature.vocabularies else torch.float32
        )
        for name, shape in signature.inputs.items()
    )


def noise(signature: Signature, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Normal noise, or whole numbers all equally likely, drawn on the CPU."""
    drawn = []
    for name, shape in signature.inputs.items():
        if (most := signature.vocabularies.get(name)) is not None:
            drawn.append(torch.randint(most, (batch, *shape), generator=generator))
        else:
            drawn.append(torch.randn(batch, *shape, generator=generator))
    return tuple(drawn)
