"""Rewards: what a controller is paid for a trial, from the gains heard so far."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import final

from workers.errors import UserError
from workers.objectives import Direction, Objective

REWARDS = ("rank", "plain", "cubed", "perplexity")
SCALE = 80.0  # of the perplexity (Zoph & Le 2017, section 4.2)
LARGEST = 1e15  # a reward, whatever its shape


@final
class Rewards:
    """Gains, heard one by one, made into rewards.

    `rank` is the share of the gains heard that are smaller, equal ones counted half: free of scale, for any objective.
    `plain` is the gain, `cubed` its cube (for accuracies), `perplexity` is 80 / value**2. A trial without a gain is
    paid as the worst that was heard. No reward is larger than `LARGEST`.
    """

    def __init__(self, shape: str, objective: Objective) -> None:
        if shape not in REWARDS:
            raise UserError(f"reward is {shape!r}, but strategy reinforce knows {', '.join(REWARDS)}")
        wanted = {"cubed": Direction.MAXIMIZE, "perplexity": Direction.MINIMIZE}.get(shape, objective.direction)
        if objective.direction is not wanted:
            raise UserError(
                f"reward {shape} is for a metric to {wanted}, but {objective.metric} is to be {objective.direction}d: "
                "take reward: rank, which suits any"
            )
        self.shape = shape
        self.objective = objective
        self._sorted: list[float] = []

    def hear(self, gain: float | None) -> None:
        """One more trial was told, None where it has no gain."""
        if gain is not None:
            insort(self._sorted, gain)

    def hear_all(self, gains: Iterable[float | None]) -> None:
        """Many more trials were told: as `hear`, one by one."""
        self._sorted = sorted([*self._sorted, *(gain for gain in gains if gain is not None)])

    def of(self, gain: float | None) -> float | None:
        """The reward of a gain; None while no gain was heard at all.

        Raises `UserError` for a perplexity that is not positive.
        """
        if not self._sorted:
            return None
        gain = self._sorted[0] if gain is None else gain
        if self.shape == "rank":
            places = bisect_left(self._sorted, gain) + bisect_right(self._sorted, gain)
            return places / (2 * len(self._sorted))
        if self.shape == "cubed":
            return _bounded(gain * gain * gain)
        if self.shape == "perplexity":
            if gain >= 0:
                raise UserError(
                    f"{self.objective.metric} is {-gain}, but reward perplexity needs values above 0: take reward: rank"
                )
            return _bounded(SCALE / gain / gain)
        return _bounded(gain)


def _bounded(reward: float) -> float:
    """No further from 0 than `LARGEST`, so that Adam's squares of gradients are finite in single precision."""
    return max(-LARGEST, min(LARGEST, reward))
