"""Sequences of different lengths in one batch: where each ends, its reversal, and its halving."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def lengths_of(tokens: Tensor) -> Tensor:
    """The place of the last token that is no padding (0): (batch, steps) -> (batch,), at least 1.

    A text without any token is read as one token of padding, however much padding there is.
    """
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return (places * (tokens != 0)).amax(dim=1).clamp(min=1)


def within(lengths: Tensor, steps: int) -> Tensor:
    """Which steps belong to their sequence: (batch, steps), boolean."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(1)


def turned(sequences: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence (batch, steps, features) from its last step to its first; padding stays behind it."""
    steps = torch.arange(sequences.shape[1], device=lengths.device)
    ends = lengths.unsqueeze(1)
    places = torch.where(steps < ends, ends - 1 - steps, steps)
    return sequences.gather(1, places.unsqueeze(2).expand(-1, -1, sequences.shape[2]))


def step_of(sequences: Tensor, places: Tensor) -> Tensor:
    """One step of each sequence: (batch, steps, features), (batch,) -> (batch, features)."""
    return sequences.gather(1, places.view(-1, 1, 1).expand(-1, 1, sequences.shape[2])).squeeze(1)


def halved(sequences: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbouring steps side by side, and half the lengths, rounded up (Chan et al. 2016: Listen, attend and spell).

    (batch, steps, features) -> (batch, half the steps, 2 features); the partner that the last of an odd number of
    steps lacks is zeros.
    """
    steps = sequences.shape[1]
    inside = sequences.masked_fill(~within(lengths, steps).unsqueeze(2), 0.0)
    even = functional.pad(inside, (0, 0, 0, steps % 2))
    return even.reshape(even.shape[0], -1, 2 * even.shape[2]), (lengths + 1) // 2
