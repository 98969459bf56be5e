"""Board: the searches of a place as they run, each read once and then only as far as it grew."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, final

from nas.standing import LATELY, Standing, current, update
from nas.summary import budget, objectives, state
from workers.errors import DamagedError
from workers.trial import Json

if TYPE_CHECKING:
    from nas.log import Header, Log

RECENT = 3600.0  # seconds for which a search that is over is shown


@final
class Board:
    """The searches that run, or ended within the last hour, the newest first; `look` reads what is new.

    Of a search that is long the first look reads what its driver has kept, and what came behind it.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known: dict[tuple[str, float], Standing | None] = {}  # by search, and when it was created

    def look(self, now: float | None = None) -> list[dict[str, Json]]:
        """One record for each search: state, counts, best, pace, slots, and who drives it."""
        now = time.time() if now is None else now
        states = [(header, state(header)) for header in self._log.searches()]  # now: to read all may take a minute
        shown = [(header, stands) for header, stands in states if _shown(header, stands, now)]
        shown.sort(key=lambda one: (one[1] != "running", -one[0].created))
        self._known = {(header.search, header.created): self._followed(header) for header, _ in shown}
        return [_row(header, stands, self._known[header.search, header.created], now) for header, stands in shown]

    def _followed(self, header: Header) -> Standing | None:
        """Where it stands; None where its journal is damaged, which is not read again."""
        key = (header.search, header.created)
        try:
            if key not in self._known:
                return current(self._log, header)
            if (known := self._known[key]) is not None:
                update(known, self._log, header.search)
        except DamagedError:
            return None
        return known


def _shown(header: Header, stands: str, now: float) -> bool:
    return stands == "running" or now - max(header.heartbeat, header.created) < RECENT


def _row(header: Header, stands: str, found: Standing | None, now: float) -> dict[str, Json]:
    known = found or Standing(objectives(header.job))
    drives, history = stands == "running", known.history
    metric = known.goals[0].metric if known.goals else None
    best = known.best
    return {
        "search": header.search,
        "state": stands if found else "damaged",
        "done": known.ended,
        "budget": budget(header, history).get("trials"),
        "running": len(history.running) if drives else 0,
        "slots": history.slots[-1][1] if drives and history.slots else 0,
        "metric": metric,
        "best": best.result.metrics.get(metric) if best and best.result and metric else None,
        "trial": best.trial.id if best else None,
        "since_improvement": now - best.ended_at if drives and best and best.ended_at else None,
        "trials_per_hour": _pace(known, now, drives),
        "seconds": history.worked,
        "driver": header.driver_host,
        "heard": now - header.heartbeat if header.heartbeat else None,
    }


def _pace(known: Standing, now: float, drives: bool) -> float | None:
    """Trials per hour: of the last ten minutes while it runs, of all of it afterwards."""
    worked = known.history.worked
    span = min(LATELY, worked) if drives else worked
    ended = known.ended_since(now - LATELY) if drives else known.ended
    return 3600 * ended / span if span > 0 else None
