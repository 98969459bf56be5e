"""Attention: which states of what was read the network looks at while it writes."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

SCORES = ("additive", "dot", "general")


@final
class Attention(nn.Module):
    """Weights of all states that were read, for each state that writes, both `size` wide.

    `score` is how well two of them fit: `additive` v·tanh(Wq + Uk) (Bahdanau et al. 2015), `dot` q·k or `general` q·Wk
    (Luong et al. 2015).
    """

    def __init__(self, score: str, size: int) -> None:
        super().__init__()
        self.score = score
        if score == "additive":
            self.query = nn.Linear(size, size, bias=False)
            self.key = nn.Linear(size, size)
            self.energy = nn.Linear(size, 1, bias=False)
        elif score == "general":
            self.query = nn.Linear(size, size, bias=False)
        elif score != "dot":
            raise ValueError(f"the score is {score!r}, but must be one of {', '.join(SCORES)}")

    def keys(self, memory: Tensor) -> Tensor:
        """What queries are compared with, (batch, length, size), computed once for all that is written."""
        keys: Tensor = self.key(memory) if self.score == "additive" else memory
        return keys

    def forward(self, queries: Tensor, keys: Tensor, known: Tensor) -> Tensor:
        """Weights (batch, steps, length) that sum to 1, for queries (batch, steps, size); 0 where `known` is false."""
        queries = queries if self.score == "dot" else self.query(queries)
        scores: Tensor = (
            self.energy(torch.tanh(queries[:, :, None] + keys[:, None])).squeeze(3)
            if self.score == "additive"
            else queries @ keys.transpose(1, 2)
        )
        return scores.masked_fill(~known[:, None], float("-inf")).softmax(2)


def copied(weights: Tensor, source: Tensor, vocabulary: int) -> Tensor:
    """The distribution (batch, steps, vocabulary) of a token of `source` (batch, length) drawn by `weights`."""
    where = source[:, None].expand(-1, weights.shape[1], -1)
    return weights.new_zeros(weights.shape[0], weights.shape[1], vocabulary).scatter_add(2, where, weights)
