"""Pooling over time: one vector of a text from the vectors of its steps, without what lies behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from search_spaces.rnn.sequences import within


def pooled(steps: Tensor, lengths: Tensor, pooling: str) -> Tensor:
    """(batch, features, steps), of which the first `lengths` (batch,) count -> (batch, features).

    `max`, `mean`, or `both`, which has twice as many features.
    """
    inside = within(lengths, steps.shape[2]).unsqueeze(1)
    found = []
    if pooling != "mean":
        found.append(steps.masked_fill(~inside, float("-inf")).amax(2))
    if pooling != "max":
        found.append(steps.masked_fill(~inside, 0.0).sum(2) / lengths.unsqueeze(1))
    return torch.cat(found, 1)
