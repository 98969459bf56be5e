"""Curves: statistics over runs, trial by trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from nas.bench.trace import Trace

Matrix: TypeAlias = NDArray[np.float64]  # (runs, trials)
Series: TypeAlias = list[float | None]  # one entry per trial

LARGER_IS_WORSE = ("search_rank", "report_rank", "search_regret", "report_regret")


@final
@dataclass(frozen=True)
class Reached:
    """When runs came to something: the share that did, and the medians of their trials and virtual seconds.

    A run that did not counts as later than any other; a median that falls on one is None.
    """

    share: float
    trials: float | None
    seconds: float | None


@final
@dataclass(frozen=True)
class Curves:
    """The traces of one searcher, all equally long, and which way values are better.

    While a run has no incumbent it is worse than any that has one, in medians and quartiles, and there is no mean of
    all runs. None is what cannot be said.
    """

    traces: Sequence[Trace]
    minimize: bool = False

    def mean(self, name: str) -> Series:
        """The mean over runs of a field of `Trace`."""
        return _plain(_means(self._known(name)))

    def sem(self, name: str) -> Series:
        """The standard error of that mean; None for a single run."""
        matrix = self._known(name)
        if len(matrix) < 2:
            return [None] * matrix.shape[1]
        squares = ((matrix - _means(matrix)) ** 2).sum(axis=0)
        return _plain(np.sqrt(squares / (len(matrix) - 1) / len(matrix)))

    def quantile(self, name: str, share: float) -> Series:
        """The value below which this share of the runs lies; between two runs in proportion, as numpy does it."""
        ordered = np.sort(self._matrix(name), axis=0)
        place = share * (len(ordered) - 1)
        low, part = math.floor(place), place - math.floor(place)
        found = ordered[low]
        if part > 0:
            with np.errstate(invalid="ignore"):  # beside a run without incumbent
                found = found + (ordered[low + 1] - found) * part
        return _plain(found)

    @property
    def feasible(self) -> list[float]:
        """The share of runs that have an incumbent."""
        return _shares(np.isfinite(self._matrix("search")))

    def top(self, rows: int) -> list[float]:
        """The share of runs whose incumbent is one of the best `rows` by search value."""
        return _shares(self._matrix("search_rank") < rows)

    def reached_top(self, rows: int) -> Reached:
        """When an incumbent was one of the best `rows` by search value."""
        return self._reached(self._matrix("search_rank") < rows)

    def reached(self, value: float) -> Reached:
        """When an incumbent had at least this search value (at most, where less is better)."""
        found = self._matrix("search")
        return self._reached(found <= value if self.minimize else found >= value)

    def _reached(self, there: NDArray[np.bool_]) -> Reached:
        ever, first = there.any(axis=1), there.argmax(axis=1)
        seconds = self._matrix("seconds")[np.arange(len(first)), first]
        return Reached(
            float(ever.mean()),
            _number(np.median(np.where(ever, first + 1.0, np.inf))),
            _number(np.median(np.where(ever, seconds, np.inf))),
        )

    def _matrix(self, name: str) -> Matrix:
        """A row per run; infinite, on the worse side, where there is no incumbent."""
        worst = math.inf if self.minimize or name in LARGER_IS_WORSE else -math.inf
        rows = [[worst if one is None else one for one in getattr(trace, name)] for trace in self.traces]
        return np.array(rows, dtype=np.float64)

    def _known(self, name: str) -> Matrix:
        """The same with NaN for infinite values, so that sums with them are none."""
        matrix = self._matrix(name)
        return np.where(np.isfinite(matrix), matrix, np.nan)


def _means(matrix: Matrix) -> Matrix:
    """From the first row on, so that the mean of equal values is that value, and has no error."""
    first = matrix[0]
    means: Matrix = first + (matrix - first).mean(axis=0)
    return means


def _shares(there: NDArray[np.bool_]) -> list[float]:
    return [float(one) for one in there.mean(axis=0)]


def _plain(values: Matrix) -> Series:
    return [_number(one) for one in values]


def _number(value: np.floating | float) -> float | None:
    return float(value) if math.isfinite(value) else None
