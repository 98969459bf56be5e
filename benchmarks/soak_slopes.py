"""Whether a series grows: a line through the means of equal stretches of it, with a confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import stats

STRETCHES = 10  # neighbours are alike; means over so many stretches hardly are
NEGLIGIBLE = 0.01  # of the mean, in an hour


@final
@dataclass(frozen=True)
class Slope:
    """Per hour; `low` and `high` bound it with the confidence that was asked for."""

    mean: float
    slope: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`none` where the interval holds 0, or what it says is less than a hundredth an hour."""
        if self.low <= 0 <= self.high:
            return "none"
        if max(abs(self.low), abs(self.high)) <= NEGLIGIBLE * abs(self.mean):
            return "none"
        return "grows" if self.slope > 0 else "shrinks"


def slope(hours: Sequence[float], values: Sequence[float], confidence: float) -> Slope:
    """The line through `values`, least squares on the means of stretches; needs `STRETCHES` values at least."""
    if len(values) < STRETCHES:
        raise ValueError(f"{len(values)} values are fewer than {STRETCHES}: let the soak run for longer")
    places = np.array_split(np.arange(len(values)), STRETCHES)
    x = np.array([np.mean(np.asarray(hours)[place]) for place in places])
    y = np.array([np.mean(np.asarray(values)[place]) for place in places])
    if np.ptp(y) == 0:
        return Slope(float(y[0]), 0.0, 0.0, 0.0)
    fit = stats.linregress(x, y)
    half = float(stats.t.ppf(0.5 + confidence / 2, STRETCHES - 2) * fit.stderr)
    rise = float(fit.slope)
    return Slope(float(np.mean(y)), rise, rise - half, rise + half)
