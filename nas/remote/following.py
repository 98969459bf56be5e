"""Following: a search that runs elsewhere, shown from its journal as if it ran here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol, final

from nas.history import History
from nas.live import Machines
from nas.log import Header, Log

LOOK = 0.5  # seconds between looks at the journal


@final
@dataclass(frozen=True)
class Elsewhere:
    """The slots of a search as its journal has them."""

    free: int
    busy: int


class Viewer(Protocol):
    """Shows how a search stands, again and again."""

    def turn(self, history: History, pool: Machines) -> None:
        """Something may have changed."""


def follow(search: str, log: Log, view: Viewer, interval: float = LOOK) -> Header:
    """Show a search until it ends, or its driver is gone; how it stands then."""
    history, last = History(), 0
    while True:
        header = log.header(search)  # before its entries: they are then at least as new
        for entry in log.entries(search, last):
            history.feed(entry)
            last = entry.sequence
        history.stopping = any(request.body["kind"] == "stop" for request in history.pending.values())
        total = history.slots[-1][1] if history.slots else 0
        busy = len(history.running)
        view.turn(history, Elsewhere(max(0, total - busy), busy))
        if header.state not in ("created", "running") or (header.state == "running" and not header.driven()):
            return header
        time.sleep(interval)
