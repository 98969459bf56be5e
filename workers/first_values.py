"""The first values of a shared tensor: drawn by its name, so that it does not matter who creates it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workers.errors import UserError
from workers.seeds import derived


def first_values(name: str, owner: nn.Module, shape: Sequence[int], initialiser: str, seed: int) -> Tensor:
    """The first values of the shared tensor called `name`, of `shape`, which a layer like `owner` uses.

    Weights begin as torch's do, or as the recipe's `initialiser` says, with the fan of the tensor itself; biases at 0,
    for torch's depend on how many inputs the child's layer has.
    """
    values = torch.empty(*shape)
    draw = torch.Generator().manual_seed(derived(seed, "shared", name))
    if isinstance(owner, nn.BatchNorm2d):
        return values.fill_(1.0 if name.endswith("weight") else 0.0)
    if not isinstance(owner, nn.Conv2d | nn.Linear):
        raise UserError(
            f"{name} belongs to a {type(owner).__name__}, but only convolutions, linear layers and batch normalisation "
            "can be shared: set weights: own"
        )
    if len(shape) < 2:
        return values.zero_()
    if initialiser == "kaiming":
        return nn.init.kaiming_normal_(values, mode="fan_out", nonlinearity="relu", generator=draw)
    if initialiser == "xavier":
        return nn.init.xavier_uniform_(values, generator=draw)
    if initialiser == "orthogonal":
        return nn.init.orthogonal_(values, generator=draw)
    return nn.init.kaiming_uniform_(values, a=math.sqrt(5), generator=draw)
