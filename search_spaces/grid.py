"""Grid: every candidate on the points of a table of decisions, by its number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, final

from search_spaces.decision import Value
from search_spaces.decisions import Candidate, Decisions

State: TypeAlias = tuple[tuple[str, Value], ...]  # the earlier values that a condition further down looks at


@final
class Grid:
    """A number's `points`, a choice's options, each decision only where it is active; the last one changes fastest.

    Nothing is listed: `grid[i]` counts its way down the table, so that one of 10**50 candidates costs what one of ten
    does. `size` is how many there are.
    """

    def __init__(self, decisions: Decisions) -> None:
        self._rows = [(name, decision.points, decision.when) for name, decision in decisions.items()]
        self._last_use = {c.name: i for i, (_, _, w) in enumerate(self._rows) for c in (w.clauses if w else ())}
        levels: list[set[State]] = [{()}]
        for row in range(len(self._rows)):
            levels.append({behind for state in levels[-1] for _, behind in self._ways(row, state)})
        self._counts: list[dict[State, int]] = [dict.fromkeys(levels[-1], 1)]
        for row in reversed(range(len(self._rows))):
            below = self._counts[0]
            self._counts.insert(0, {s: sum(n * below[b] for n, b in self._ways(row, s)) for s in levels[row]})
        self.size = self._counts[0][()]

    def __getitem__(self, index: int) -> Candidate:
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is no number of a grid of {self.size:,} candidates")
        values: dict[str, Value] = {}
        state: State = ()
        for row, (name, points, when) in enumerate(self._rows):
            below = self._counts[row + 1]
            first = 0  # of the points that lead to the same state
            for count, behind in self._ways(row, state):
                if index < count * below[behind]:
                    place, index = divmod(index, below[behind])
                    if when is None or when.holds(values):
                        values[name] = points[first + place]
                    state = behind
                    break
                index -= count * below[behind]
                first += count
        return Candidate(values)

    def __iter__(self) -> Iterator[Candidate]:
        return map(self.__getitem__, range(self.size))

    def _ways(self, row: int, state: State) -> Iterator[tuple[int, State]]:
        """The states behind a row, each with how many points in a row lead there."""
        name, points, when = self._rows[row]
        kept = tuple(item for item in state if self._last_use[item[0]] > row)
        if when is not None and not when.holds(dict(state)):
            yield 1, kept
        elif self._last_use.get(name, -1) <= row:
            yield len(points), kept
        else:
            yield from ((1, (*kept, (name, point))) for point in points)
