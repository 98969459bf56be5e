"""Rung, ladder: how long children are trained step by step, and which of them deserve the next step."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import final

from nas.ranking import ordered


def ladder(epochs: int, fidelities: Sequence[int] = (), eta: int = 3, least: int = 1) -> tuple[int, ...]:
    """The epochs of the rungs, ascending up to `epochs`: each about `eta` times the one below, none below `least`.

    Of the `fidelities` (none: any number) the nearest by ratio is taken; where they lie further apart than `eta`, all.
    """
    rungs = [epochs]
    while True:
        wanted = rungs[0] / eta
        offered = fidelities or (math.floor(wanted), math.ceil(wanted))
        lower = [one for one in offered if least <= one < rungs[0]]
        if not lower or (not fidelities and wanted < least):
            return tuple(rungs)
        rungs.insert(0, min(lower, key=lambda one: abs(math.log(one / wanted))))


@final
class Rung:
    """The trials that were trained for as long as this rung says: what each gained, and which went on.

    One objective is kept sorted, so that a result costs a binary search; several are ordered, by front and solitude,
    when they are next asked for.
    """

    def __init__(self) -> None:
        self.told = 0  # what failed counts, too
        self.promoted: set[int] = set()
        self._gains: dict[int, tuple[float, ...]] = {}
        self._ranking: list[tuple[float, int]] = []  # all that completed, best first
        self._waiting: list[tuple[float, int]] = []  # those of them that were not promoted
        self._order: list[int] | None = []  # several objectives: a cache, until the next result

    def complete(self, trial: int, gains: tuple[float, ...]) -> None:
        """`trial` was trained, and gained this for each objective, larger better."""
        self.told += 1
        self._gains[trial] = gains
        self._order = None
        if len(gains) == 1:
            insort(self._ranking, (-gains[0], trial))
            if trial not in self.promoted:
                insort(self._waiting, (-gains[0], trial))

    def fail(self, trial: int) -> None:
        """`trial` gained less than any other; or what it is known to have gained does not count after all."""
        gains = self._gains.pop(trial, None)
        self._order = None
        if gains is None:
            self.told += 1
        elif len(gains) == 1:
            for one in (self._ranking, self._waiting):
                _remove(one, (-gains[0], trial))

    def promote(self, trial: int) -> None:
        """`trial` goes on, whether it deserves it or not."""
        self.promoted.add(trial)
        gains = self._gains.get(trial)
        if gains is not None and len(gains) == 1:
            _remove(self._waiting, (-gains[0], trial))

    def promotable(self, eta: int, least: int = 0) -> list[int]:
        """Who of the best `1/eta` of those told (at least of so many) was not promoted, the best first."""
        count = min(max(self.told // eta, least), len(self._gains))
        if not count:
            return []
        if self._ranking:
            last = bisect_right(self._waiting, self._ranking[count - 1])
            return [trial for _, trial in self._waiting[:last]]
        if self._order is None:
            trials = sorted(self._gains)
            self._order = [trials[place] for place in ordered([self._gains[trial] for trial in trials])]
        return [trial for trial in self._order[:count] if trial not in self.promoted]


def _remove(ranking: list[tuple[float, int]], entry: tuple[float, int]) -> None:
    place = bisect_left(ranking, entry)
    if place < len(ranking) and ranking[place] == entry:
        del ranking[place]
