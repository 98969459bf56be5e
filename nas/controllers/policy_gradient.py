"""Baseline, REINFORCE and PPO: how much each candidate's log-probability should rise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from nas.controllers.lstm import Array


@final
class Baseline:
    """An exponential moving average of the rewards, one reward after the other; it starts at the first batch's mean."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.value: float | None = None

    def advantages(self, rewards: Sequence[float]) -> Array:
        """The rewards less the average of those before them."""
        values = np.array(rewards)
        return values - (values.mean() if self.value is None else self.value)

    def take(self, rewards: Sequence[float]) -> None:
        """Let a batch of rewards into the average."""
        if self.value is None:
            self.value = float(np.mean(rewards))
            return
        for reward in rewards:
            self.value = self.weight * self.value + (1 - self.weight) * reward


def reinforce(advantages: Array) -> Array:
    """The derivative of the mean of advantage * log p by each log p, (n,) (Williams 1992)."""
    return advantages / len(advantages)


def truncated(advantages: Array, ratios: Array) -> Array:
    """As `reinforce`, (n,), of candidates that are `ratios` times as likely as when sampled, counted at most once.

    Importance weights bounded by 1, as in IMPALA (Espeholt et al., ICML 2018): https://arxiv.org/abs/1802.01561.
    """
    return np.minimum(ratios, 1.0) * advantages / len(advantages)


def clipped(advantages: Array, ratios: Array, clip: float) -> Array:
    """The derivative of PPO's objective by each log p, (n,), of candidates `ratios` times as likely as when sampled.

    The objective is the mean of min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A) (Schulman et al. 2017):
    https://arxiv.org/abs/1707.06347. A candidate that moved too far already, to where it should, pulls no more.
    """
    beyond = np.where(advantages > 0, ratios > 1 + clip, ratios < 1 - clip)
    return np.where(beyond, 0.0, ratios * advantages) / len(advantages)
