"""Logbook: what the driver of a search and its trials said, read from its artifacts; needs no cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TypeAlias, final

from nas.driver_log import driver_log
from nas.history import History
from nas.log import Log
from nas.remote.kept import place
from workers.artifacts import Artifacts
from workers.errors import DamagedError, NotFoundError
from workers.spoken import HEAD, OUTPUT, TAIL, TRACEBACK

LOOK = 1.0  # seconds between looks, while somebody follows
OVERLAP = 200  # characters by which the place is found again where a long text has lost its middle meanwhile
CUT = re.compile(r"^\[\.\.\. [\d,]+ (?:bytes|characters) \.\.\.\]$", re.MULTILINE)

Key: TypeAlias = tuple[int, int, str]  # trial, attempt, name


@final
class Logbook:
    """The lines of a search, each part under a head of its own: of drivers in their order, then of trials in theirs."""

    def __init__(
        self, log: Log, search: str, trials: bool = True, driver: bool = True, only: int | None = None
    ) -> None:
        self._log, self._search = log, search
        self._trials, self._driver, self._only = trials, driver, only
        self._artifacts = Artifacts.open(place(log, log.header(search)))
        self._shown: dict[str, Shown] = {}  # by the head of the part
        self._seen: dict[Key, tuple[int, bool]] = {}  # how long a file was, and whether its attempt was over
        self._over: set[tuple[int, int]] = set()
        self._told = 0

    def read(self) -> Iterator[str]:
        """What has been said since this was last asked."""
        yield from self._news(True)

    def follow(self, interval: float = LOOK) -> Iterator[str]:
        """What has been said, and what is said until the search ends or loses its driver; whole lines as they come."""
        while True:
            header = self._log.header(self._search)
            ended = header.state not in ("created", "running") or (header.state == "running" and not header.driven())
            for entry in self._log.entries(self._search, self._told, kinds=("tell",)) if self._trials else ():
                self._over.add((int(entry.body["trial_id"]), int(entry.body["attempt"])))
                self._told = entry.sequence
            yield from self._news(ended)
            if ended:
                return
            time.sleep(interval)

    def _news(self, whole: bool) -> Iterator[str]:
        for title, text, over in self._parts():
            news = self._shown.setdefault(title, Shown()).news(text, whole or over)
            if news:
                yield f"==> {title} <=="
                yield from news.splitlines()

    def _parts(self) -> Iterator[tuple[str, str, bool]]:
        """Head, text, and whether nothing is to come; of what may be new."""
        if self._driver:
            history = History.of(self._log.entries(self._search, kinds=("driver",)))
            for entry in history.drivers:
                epoch = int(entry.body["epoch"])
                yield f"driver {epoch} on {entry.body.get('host', '?')}", self._text(driver_log(epoch)), True
        if not self._trials:
            return
        for one in self._artifacts.list(self._search):
            if one.name not in (OUTPUT, TRACEBACK) or self._only not in (None, one.trial):
                continue
            key, now = (one.trial, one.attempt, one.name), (one.bytes, (one.trial, one.attempt) in self._over)
            grows = one.bytes >= HEAD + TAIL and not now[1]  # or does not, having lost as much as it has got
            if self._seen.get(key) != now or grows:
                self._seen[key] = now
                what = "output" if one.name == OUTPUT else "traceback"
                yield f"trial {one.trial}, attempt {one.attempt}: {what}", self._of(*key), now[1]

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


@final
class Shown:
    """How far a text that grows, and may lose its middle, has been shown."""

    __slots__ = ("_length", "_tail")

    def __init__(self) -> None:
        self._length, self._tail = 0, ""

    def news(self, text: str, whole: bool) -> str:
        """What is new in it; unless it is the `whole` of it, without a line that has not ended."""
        begin, end = self._place(text), len(text) if whole else text.rfind("\n") + 1
        if end <= begin:
            return ""
        self._length, self._tail = end, text[max(0, end - OVERLAP) : end]
        return text[begin:end]

    def _place(self, text: str) -> int:
        if text.startswith(self._tail, max(0, self._length - len(self._tail))):
            return self._length
        if (found := text.rfind(self._tail)) >= 0:
            return found + len(self._tail)
        *_, (start, behind) = [(0, 0), *((cut.start(), cut.end() + 1) for cut in CUT.finditer(text))]
        left = (size for size in range(len(self._tail), 0, -1) if text.startswith(self._tail[-size:], behind))
        return behind + size if (size := next(left, 0)) else start
