"""Leases: who is there; whoever is silent for longer than a lease counts as gone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import final


@final
class Leases:
    """Names, and until when each is believed to be there; times are those of one clock that never goes back."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until: dict[str, float] = {}
        self._soonest = math.inf  # no lease ends before this

    def __len__(self) -> int:
        return len(self._until)

    def __iter__(self) -> Iterator[str]:
        return iter(self._until)

    def __contains__(self, name: str) -> bool:
        return name in self._until

    def renew(self, name: str, now: float) -> None:
        self._until[name] = now + self.seconds
        self._soonest = min(self._soonest, now + self.seconds)

    def drop(self, name: str) -> None:
        self._until.pop(name, None)

    def lapse(self, now: float, waits: Callable[[str], bool]) -> list[str]:
        """End the leases whose time is over, except of those who wait for an answer, and give their names."""
        if now < self._soonest:
            return []
        over = [name for name, until in self._until.items() if until <= now]
        for name in over:
            if waits(name):
                self._until[name] = now + self.seconds
            else:
                del self._until[name]
        self._soonest = min(self._until.values(), default=math.inf)
        return [name for name in over if name not in self._until]
