"""Grid: Optuna's grid, of which every point is tried once, whatever runs and whatever is conditional."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

from optuna.samplers import GridSampler

from nas.samplers.table import Table
from search_spaces.decisions import Candidate
from workers.trial import Json


@final
class Grid:
    """The points of the grid in the order of Optuna's shuffle.

    Optuna numbers its points and gives trial number n point n. Where decisions are conditional some points are the
    same candidate; of them the first counts.
    """

    def __init__(self, table: Table, seed: int) -> None:
        points = table.grid()
        self.size = math.prod(map(len, points.values()))
        self.sampler = GridSampler(points, seed=seed)
        self._taken: set[int] = set()
        self._tried: set[Candidate] = set()
        # Caches: which points were looked at, and what of them waits, follows from the above.
        self._next = 0
        self._waiting: dict[Candidate, int] = {}

    def take(self, candidate: Candidate, attributes: Mapping[str, Json]) -> None:
        """A trial of `candidate` runs, perhaps of a point of this grid."""
        if (point := attributes.get("grid_id")) is not None:
            self._taken.add(point)
        self._tried.add(candidate)
        self._waiting.pop(candidate, None)

    def waiting(self, place: int) -> tuple[int, Candidate] | None:
        """Number `place` of the points that wait, as far as they were looked at."""
        if place >= len(self._waiting):
            return None
        candidate = next(iter(self._waiting)) if place == 0 else list(self._waiting)[place]
        return self._waiting[candidate], candidate

    def following(self) -> int | None:
        """The next point to look at."""
        while self._next in self._taken:
            self._next += 1
        return self._next if self._next < self.size else None

    def offer(self, point: int, candidate: Candidate) -> None:
        """This point is `candidate`."""
        self._next = max(self._next, point + 1)
        if candidate not in self._tried:
            self._waiting.setdefault(candidate, point)
