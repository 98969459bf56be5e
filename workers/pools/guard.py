"""Guard: sees from outside that a worker of this machine stands still, or holds more memory than it may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from workers import footprint
from workers.size import shown

LOOK = 0.5  # seconds between two looks at a worker
CENSUS = 2.0  # seconds between two looks at all processes
FROZEN = 30.0  # seconds that a worker may stand still
STOOD_STILL: Final = "its worker was stopped (SIGSTOP) and did not go on"


@final
class Census:
    """Who has started whom on this machine, counted now and then for all guards together."""

    def __init__(self) -> None:
        self._at = float("-inf")
        self._families: Mapping[int, list[int]] = {}

    def offspring(self, pid: int, now: float) -> list[int]:
        """What a process has started, as it was known a moment ago."""
        if now - self._at >= CENSUS:
            self._at, self._families = now, footprint.families()
        return footprint.offspring(pid, self._families)


@final
class Guard:
    """What was seen of one worker since it began what it runs; times are the driver's monotonic seconds.

    A worker ends what takes too much memory itself. This is for code that is deaf to that: it has `grace` seconds.
    """

    def __init__(self, limit: int | None, grace: float, census: Census) -> None:
        self._limit, self._grace, self._census = limit, grace, census
        self._last = float("-inf")
        self._over: float | None = None  # since when the worker has held too much
        self._still: float | None = None

    def afresh(self) -> Guard:
        """One that has seen nothing."""
        return Guard(self._limit, self._grace, self._census)

    def look(self, pid: int, now: float) -> str | None:
        """Why this worker must go, looked at now and then; None while it need not."""
        passed, self._last = now - self._last, now if now >= self._last + LOOK else self._last
        if passed < LOOK:
            return None
        if not footprint.stopped(pid) or passed > FROZEN:  # in which case the driver itself stood still
            self._still = None
        elif self._still is None:
            self._still = now
        elif now - self._still >= FROZEN:
            return STOOD_STILL
        return None if self._limit is None else self._too_much(pid, self._limit, now)

    def _too_much(self, pid: int, limit: int, now: float) -> str | None:
        total = footprint.together(pid, limit, self._census.offspring(pid, now))
        if total <= limit:
            self._over = None
        elif self._over is None:
            self._over = now
        elif now - self._over >= self._grace:
            return f"it held {shown(total)}, and its worker's limit is {shown(limit)}"
        return None
