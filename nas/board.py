"""Board: the searches of a place as they run, each read once and then only as far as it grew."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, final

from nas.history import History, TrialRecord
from nas.summary import goal, objectives, state
from nas.tally import Tally
from workers.trial import Json

if TYPE_CHECKING:
    from nas.log import Header, Log

RECENT = 3600.0  # seconds for which a search that is over is shown
WINDOW = 600.0  # seconds over which trials per hour are counted
KINDS = ("driver", "ask", "attempt", "tell", "slots", "state", "request")  # neither curves nor files


@final
class Board:
    """The searches that run, or ended within the last hour, the newest first; `look` reads what is new.

    Of 100,000 trials the first look takes 6 s of a core and 330 MB, each further one 10 ms.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known: dict[str, _Followed] = {}

    def look(self, now: float | None = None) -> list[dict[str, Json]]:
        """One record for each search: state, counts, best, pace, slots, and who drives it."""
        now = time.time() if now is None else now
        shown = [header for header in self._log.searches() if _shown(header, now)]
        shown.sort(key=lambda header: (state(header) != "running", -header.created))
        names = {header.search for header in shown}
        self._known = {name: followed for name, followed in self._known.items() if name in names}
        return [self._followed(header).row(header, now) for header in shown]

    def _followed(self, header: Header) -> _Followed:
        followed = self._known.setdefault(header.search, _Followed(header))
        followed.read(self._log)
        return followed


def _shown(header: Header, now: float) -> bool:
    return state(header) == "running" or now - max(header.heartbeat, header.created) < RECENT


@final
class _Followed:
    """What is known of one search, and how far it was read."""

    def __init__(self, header: Header) -> None:
        self.search = header.search
        self.objectives = objectives(header.job)
        self.history, self.tally = History(), Tally(self.objectives)
        self.ended: deque[float] = deque()
        self._read, self._counted = 0, 0

    def read(self, log: Log) -> None:
        for entry in log.entries(self.search, after=self._read, kinds=KINDS):
            self.history.feed(entry)
            self._read = entry.sequence
        self.ended.extend(sorted(record.ended_at or 0.0 for record in self.tally.update(self.history)))

    def row(self, header: Header, now: float) -> dict[str, Json]:
        stands, drives = state(header), state(header) == "running"
        best = self._best()
        result = best.result if best else None
        value = result.metrics.get(self.objectives[0].metric) if result and self.objectives else None
        return {
            "search": self.search,
            "state": stands,
            "done": self.tally.ended,
            "budget": goal(self.search, header.job).trials,
            "running": len(self.history.running) if drives else 0,
            "slots": self.history.slots[-1][1] if drives and self.history.slots else 0,
            "metric": self.objectives[0].metric if self.objectives else None,
            "best": value,
            "trial": best.trial.id if best else None,
            "since_improvement": now - best.ended_at if drives and best and best.ended_at else None,
            "trials_per_hour": self._pace(now, drives),
            "seconds": self.history.worked,
            "driver": header.driver_host,
            "heard": now - header.heartbeat if header.heartbeat else None,
        }

    def _best(self) -> TrialRecord | None:
        """The best full training of any arm by the first objective."""
        found = [(gains, record) for record in self.tally.best.values() if (gains := record.gains(self.objectives[:1]))]
        return max(found, key=lambda pair: pair[0], default=(None, None))[1]

    def _pace(self, now: float, drives: bool) -> float | None:
        """Trials per hour: of the last ten minutes while it runs, of all of it afterwards."""
        worked = self.history.worked
        if not drives:
            return 3600 * self.tally.ended / worked if worked > 0 else None
        while self.ended and self.ended[0] < now - WINDOW:
            self.ended.popleft()
        span = min(WINDOW, worked)
        return 3600 * len(self.ended) / span if span > 0 else None
