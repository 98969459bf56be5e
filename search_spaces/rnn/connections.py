"""Connections around a recurrent layer: from what it reads to what it gives."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


def connection(kind: str, inputs: int, outputs: int) -> nn.Module:
    """The connection `residual` or `highway` around a layer that reads `inputs` features and gives `outputs`."""
    return _CONNECTIONS[kind](inputs, outputs)


@final
class Residual(nn.Module):
    """The sum of a layer's input and output (He et al. 2016); an input of another width is projected, without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = _shortcut(inputs, outputs)

    def forward(self, before: Tensor, behind: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(before)
        return shortcut + behind


@final
class Highway(nn.Module):
    """t * output + (1 - t) * input of a layer, t = sigmoid(W input + b) (Srivastava et al. 2015).

    b begins at -1, so that a new layer mostly lets pass. An input of another width is projected, without bias.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = _shortcut(inputs, outputs)
        self.gate = nn.Linear(inputs, outputs)
        nn.init.constant_(self.gate.bias, -1.0)

    def forward(self, before: Tensor, behind: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(before)
        return torch.lerp(shortcut, behind, torch.sigmoid(self.gate(before)))


def _shortcut(inputs: int, outputs: int) -> nn.Module:
    return nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs, bias=False)


_CONNECTIONS: dict[str, type[nn.Module]] = {"residual": Residual, "highway": Highway}
