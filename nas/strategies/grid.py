"""Grid search: every candidate on the grid once."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Literal, final

from nas.strategy import Draw, Setting, Strategy
from search_spaces.decisions import Candidate
from search_spaces.grid import Grid
from search_spaces.shuffle import Shuffle
from workers.errors import UserError
from workers.trial import Result, Trial

ORDERS = ("shuffled", "listed")


@final
class GridSearch(Strategy):
    """Numbers by their `points`, categories by their options, conditional decisions where they are active.

    `order` is `shuffled` by the job's seed, so that a search that is stopped early has seen a little of everything, or
    `listed`, as loops over the decisions would, the last one changing fastest. Nothing is kept in a list: a grid may be
    of any size. Isomorphic candidates count as one. A trial's note holds its `place` in the order, where a search
    resumes.
    """

    objectives_at_most = None
    foreign = True  # what a user tried need not be tried again

    def __init__(self, setting: Setting, order: Literal["shuffled", "listed"] = "shuffled") -> None:
        super().__init__(setting)
        if order not in ORDERS:
            raise UserError(f"order is {order!r}, but strategy grid knows {' and '.join(ORDERS)}")
        self.order = order
        self.grid = Grid(setting.decisions)
        self._shuffle = Shuffle(self.grid.size, f"{setting.seed}/grid")
        self._next = 0  # the first place that may still be asked
        self._over = False
        self._unkeyed: list[Candidate] = []
        # All below are caches: what they hold follows from the above.
        self._tried: set[Hashable] = set()
        self._ahead: deque[tuple[int, Candidate]] = deque()
        self._ahead_keys: set[Hashable] = set()
        self._seen = 0  # every place before this one is tried, or ahead

    @property
    def exhausted(self) -> bool:
        return self._over

    def asked(self, trial: Trial) -> None:
        self._over = False
        self._unkeyed.append(trial.candidate)
        place = trial.note.get("place")
        if place is not None:
            self._next = max(self._next, place + 1)

    def told(self, result: Result) -> None:
        """Nothing depends on what came out."""

    def propose(self, draw: Draw) -> Trial | None:
        """Number `draw.proposal` of those that are left."""
        self._catch_up()
        while len(self._ahead) <= draw.proposal and self._seen < self.grid.size:
            self._look_further()
        if len(self._ahead) <= draw.proposal:
            self._over = True
            return None
        place, candidate = self._ahead[draw.proposal]
        return self.trial(draw, candidate, {"place": place})

    def _catch_up(self) -> None:
        """Forget what lies ahead when that was asked, or passed over."""
        if not self._unkeyed:
            return
        self._tried |= {self.setting.canonical(candidate) for candidate in self._unkeyed}
        self._unkeyed.clear()
        self._ahead.clear()
        self._ahead_keys.clear()
        self._seen = self._next

    def _look_further(self) -> None:
        place = self._seen
        self._seen += 1
        candidate = self.grid[place if self.order == "listed" else self._shuffle[place]]
        key = self.setting.canonical(candidate)
        if key not in self._tried and key not in self._ahead_keys:
            self._ahead_keys.add(key)
            self._ahead.append((place, candidate))
