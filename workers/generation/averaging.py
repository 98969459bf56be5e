"""Averaged: a generator whose weights are the moving average of another's, which is being trained."""

from __future__ import annotations

import copy
from typing import final

import torch
from torch import nn


@final
class Averaged:
    """A copy of `network` that follows it (Yazici et al., ICLR 2019); buffers, such as statistics, are the newest."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = copy.deepcopy(network).requires_grad_(False), decay

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take in the weights of `network` after one of its steps."""
        for mine, theirs in zip(self.network.parameters(), network.parameters(), strict=True):
            mine.lerp_(theirs, 1 - self.decay)
        for newest, their in zip(self.network.buffers(), network.buffers(), strict=True):
            newest.copy_(their)
