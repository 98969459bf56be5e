"""Occupancy: how many slots were busy when, in a few hundred steps however long a search runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import final

BINS = 256
LATEST = 300  # attempts that are kept one by one


@final
@dataclass(frozen=True)
class Span:
    """One attempt at a worker, from when to when, in seconds since 1970; `ending` is its trial's state."""

    trial: int
    start: float
    end: float
    ending: str


@final
class Occupancy:
    """Busy seconds per step of time; the steps are made twice as long when there would be more than `BINS` of them."""

    def __init__(self) -> None:
        self.start: float | None = None
        self.width = 1.0
        self.latest: deque[Span] = deque(maxlen=LATEST)
        self._busy = [0.0] * BINS
        self._last = 0.0

    def begin(self, time: float) -> None:
        """The search begins."""
        if self.start is None:
            self.start = time

    def add(self, span: Span) -> None:
        """An attempt is over."""
        self.begin(span.start)
        self.latest.append(span)
        self._last = max(self._last, span.end)
        self._reach(span.end)
        self._spread(self._busy, span.start, span.end)

    def levels(self, now: float, running: Sequence[Span] = ()) -> list[tuple[float, float]]:
        """The mean number of busy slots in each step up to `now`: its beginning, and the number."""
        if self.start is None:
            return []
        now = max(now, self._last)
        self._reach(now)
        busy = list(self._busy)
        for span in running:
            self._spread(busy, span.start, now)
        whole, rest = divmod(now - self.start, self.width)
        found = [(self.start + step * self.width, busy[step] / self.width) for step in range(min(BINS, int(whole)))]
        if rest > self.width / 2 or not found:  # a step that has only just begun says little
            found.append((self.start + len(found) * self.width, busy[len(found)] / max(rest, 1e-3)))
        return found

    def _reach(self, end: float) -> None:
        assert self.start is not None
        while end >= self.start + BINS * self.width:
            half = [self._busy[i] + self._busy[i + 1] for i in range(0, BINS, 2)]
            self._busy = half + [0.0] * (BINS - len(half))
            self.width *= 2

    def _spread(self, busy: list[float], start: float, end: float) -> None:
        assert self.start is not None
        start = max(start, self.start)
        for step in range(int((start - self.start) / self.width), BINS):
            left = self.start + step * self.width
            if left >= end:
                return
            busy[step] += max(0.0, min(end, left + self.width) - max(start, left))


def lanes(spans: Sequence[Span]) -> list[tuple[int, Span]]:
    """Each span with the first lane that is free when it begins: as many lanes as ran at once."""
    placed: list[tuple[int, Span]] = []
    free: list[int] = []
    ends: list[tuple[float, int]] = []
    count = 0
    for span in sorted(spans, key=lambda one: (one.start, one.trial)):
        while ends and ends[0][0] <= span.start:
            heappush(free, heappop(ends)[1])
        if free:
            lane = heappop(free)
        else:
            lane, count = count, count + 1
        heappush(ends, (span.end, lane))
        placed.append((lane, span))
    return placed
