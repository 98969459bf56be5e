"""Foresight: how well a surrogate's predictions agreed, of late, with what then came."""

from __future__ import annotations

import math
from collections import deque
from typing import Final, final

from nas.surrogates.correlation import spearman

RECENT: Final = 100  # predictions


@final
class Foresight:
    """Pairs of a prediction, made before a trial was trained, and its result; the last `RECENT` of them."""

    def __init__(self) -> None:
        self._open: dict[int, float] = {}
        self._pairs: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._found: float | None = None

    def predicted(self, trial: int, value: float) -> None:
        """A surrogate expects `value` of a trial that is going to run."""
        self._open[trial] = value

    def told(self, trial: int, value: float | None) -> None:
        """The trial ended with `value`, or, None, without one."""
        expected = self._open.pop(trial, None)
        if expected is not None and value is not None and math.isfinite(value):
            self._pairs.append((expected, value))
            self._found = None

    def correlation(self) -> float:
        """Spearman's rho; NaN where there are fewer than two pairs, or a side does not vary."""
        if self._found is None:
            rho = spearman([pair[0] for pair in self._pairs], [pair[1] for pair in self._pairs])
            self._found = math.nan if rho is None else rho
        return self._found
