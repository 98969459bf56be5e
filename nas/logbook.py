"""Logbook: what the driver of a search and its trials said, read from its artifacts; needs no cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import final

from nas.driver_log import driver_log
from nas.history import History
from nas.log import Log
from nas.remote.kept import place
from workers.artifacts import Artifacts
from workers.errors import DamagedError, NotFoundError
from workers.spoken import OUTPUT, TRACEBACK

LOOK = 1.0  # seconds between looks, while somebody follows


@final
class Logbook:
    """The lines of a search, each part under a head of its own: of drivers in their order, then of trials in theirs."""

    def __init__(
        self, log: Log, search: str, trials: bool = True, driver: bool = True, only: int | None = None
    ) -> None:
        self._log, self._search = log, search
        self._trials, self._driver, self._only = trials, driver, only
        self._artifacts = Artifacts.open(place(log, log.header(search)))
        self._shown: dict[str, int] = {}  # how many lines of which part
        self._bytes: dict[tuple[int, int, str], int] = {}

    def read(self) -> Iterator[str]:
        """What has been said since this was last asked."""
        for title, text in self._parts():
            lines = text.splitlines()
            shown = self._shown.get(title, 0)
            if len(lines) > shown:
                yield f"==> {title} <=="
                yield from lines[shown:]
                self._shown[title] = len(lines)

    def follow(self, interval: float = LOOK) -> Iterator[str]:
        """What has been said, and what is said until the search ends or loses its driver."""
        while True:
            header = self._log.header(self._search)
            yield from self.read()
            if header.state not in ("created", "running") or (header.state == "running" and not header.driven()):
                return
            time.sleep(interval)

    def _parts(self) -> Iterator[tuple[str, str]]:
        if self._driver:
            history = History.of(self._log.entries(self._search, kinds=("driver",)))
            for entry in history.drivers:
                epoch = int(entry.body["epoch"])
                yield f"driver {epoch} on {entry.body.get('host', '?')}", self._text(driver_log(epoch))
        if not self._trials:
            return
        for one in self._artifacts.list(self._search):
            wanted = one.name in (OUTPUT, TRACEBACK) and self._only in (None, one.trial)
            if wanted and self._bytes.get((one.trial, one.attempt, one.name)) != one.bytes:
                self._bytes[one.trial, one.attempt, one.name] = one.bytes
                what = "output" if one.name == OUTPUT else "traceback"
                yield f"trial {one.trial}, attempt {one.attempt}: {what}", self._of(one.trial, one.attempt, one.name)

    def _of(self, trial: int, attempt: int, name: str) -> str:
        try:
            return self._artifacts.get(self._search, trial, attempt, name).decode(errors="replace")
        except (NotFoundError, DamagedError):  # removed, or written at this moment
            return ""

    def _text(self, name: str) -> str:
        try:
            return self._artifacts.get_whole(self._search, name).decode(errors="replace")
        except (NotFoundError, DamagedError):
            return ""
