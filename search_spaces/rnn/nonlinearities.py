"""The nonlinearities inside recurrent cells, as functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def identity(values: Tensor) -> Tensor:
    return values


NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": identity,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
}
