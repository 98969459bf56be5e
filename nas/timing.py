"""Timing: what a driver measures of itself, in seconds."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

BOUNDS = tuple(100e-6 * 2**power for power in range(20))  # 0.1 ms to 52 s


@final
class Spans:
    """How often something was done, how long that took in all, and how often each of `bounds` was enough.

    `counts` has one more place than `bounds`, for what took longer than the last.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Once more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Once more, for as long as what is inside takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(time.perf_counter() - began)


@final
class Timing:
    """The spans of a driver: asking and telling its strategy, and committing its journal."""

    def __init__(self) -> None:
        self.ask, self.tell, self.commit = Spans(), Spans(), Spans()
