"""Cube: numbers as places between 0 and 1, as CMA-ES moves them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution

Number: TypeAlias = FloatDistribution | IntDistribution
Place: TypeAlias = NDArray[np.float64]


@final
class Cube:
    """Parameters as points of a unit cube, one axis for each, logarithmic where the parameter is.

    With `widen` a whole number owns the half to its left and to its right, the outermost ones too.
    """

    def __init__(self, space: Mapping[str, Number], widen: bool = True) -> None:
        self.space = dict(space)
        bounds = [_bounds(one, 0.5 if widen and isinstance(one, IntDistribution) else 0.0) for one in space.values()]
        self.low, self.high = np.array(bounds, dtype=np.float64).T

    @property
    def steps(self) -> Place:
        """How far apart neighbours are on each axis, 0 where there are none."""
        return np.array(
            [
                0.0 if isinstance(one, FloatDistribution) or one.log else 1 / (one.high - one.low)
                for one in self.space.values()
            ]
        )

    def place(self, params: Mapping[str, Any]) -> Place:
        """Where `params` are."""
        found = [math.log(params[name]) if one.log else float(params[name]) for name, one in self.space.items()]
        places: Place = (np.array(found) - self.low) / (self.high - self.low)
        return places

    def params(self, place: Place) -> dict[str, float]:
        """What is at `place`: floats short of their upper end, whole numbers the nearest."""
        found = self.low + place * (self.high - self.low)
        return {name: _param(one, float(x)) for (name, one), x in zip(self.space.items(), found, strict=True)}


def _bounds(one: Number, half: float) -> tuple[float, float]:
    if one.log:
        return math.log(one.low - half), math.log(one.high + half)
    return one.low - half, one.high + half


def _param(one: Number, x: float) -> float:
    if isinstance(one, IntDistribution):
        whole = round(math.exp(x)) if one.log else math.floor(x - one.low + 0.5) + one.low
        return min(max(whole, one.low), one.high)
    below = float(np.nextafter(one.high, one.high - 1))
    return min(max(math.exp(x), one.low), below) if one.log else min(x, below)
