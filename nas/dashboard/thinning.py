"""Thinned: as many points of a long series as a chart can show, spread evenly over all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from nas.reports.chart import Point

MOST = 800  # points of one series in a chart: some 60 bytes each


@final
class Thinned:
    """Keeps every nth point, n being doubled whenever more than `most` were kept."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.seen = 0
        self._stride = 1
        self._kept: list[tuple[float, float, int]] = []

    def add(self, x: float, y: float, trial: int) -> None:
        """Take one more point into account."""
        if self.seen % self._stride == 0:
            self._kept.append((x, y, trial))
        self.seen += 1
        if len(self._kept) > self.most:
            self._kept = self._kept[::2]
            self._stride *= 2

    @property
    def points(self) -> Sequence[Point]:
        """The places of what was kept."""
        return [(x, y) for x, y, _ in self._kept]

    @property
    def trials(self) -> Sequence[int]:
        """The trials of what was kept, point by point."""
        return [trial for *_, trial in self._kept]
