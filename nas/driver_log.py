"""DriverLog: what a driver does, line by line, as a file of its search; readable when its machine is gone."""

from __future__ import annotations

import io
import logging
import sys
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, final

from nas.history import History
from nas.live import Goal, Lines, View
from nas.summary import goal
from nas.watcher import Watcher
from workers.artifacts import Artifacts
from workers.errors import UserError
from workers.pool import Pool
from workers.redaction import redacted_text

if TYPE_CHECKING:
    from nas.plan import Plan

INTERVAL = 1.0  # seconds between looks at the history
PATIENCE = 5.0  # seconds that lines wait to be stored, at least
COST = 0.01  # the share of the driver's time that storing may take
HEAD = 100_000  # characters that are kept of the beginning
TAIL = 400_000  # and of the end


def driver_log(epoch: int) -> str:
    """The file of a search in which its driver of this epoch says what it does."""
    return f"driver-{epoch}.log"


@final
class DriverLog(Watcher):
    """Watches a search, and stores what happens, what is logged as a warning or worse, and the error that ends it."""

    def __init__(self, artifacts: Artifacts, aim: Goal, epoch: int) -> None:
        self._artifacts, self._search, self._name = artifacts, aim.name, driver_log(epoch)
        self._lines = _Ends()
        self._view = View(Lines(self._lines), aim, INTERVAL)
        self._store_at = 0.0
        self._stored = 0
        self._handler = logging.StreamHandler(self._lines)
        self._handler.setLevel(logging.WARNING)
        self._handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(self._handler)

    @classmethod
    def of(cls, plan: Plan, epoch: int) -> DriverLog:
        """That of a plan's search, for the driver of this epoch."""
        return cls(Artifacts.open(plan.artifacts), goal(plan.search, plan.record()), epoch)

    def turn(self, history: History, pool: Pool) -> None:
        self._view.turn(history, pool)
        now = time.monotonic()
        if now >= self._store_at and self._lines.written != self._stored:
            self._store()
            took = time.monotonic() - now
            self._store_at = now + took + max(PATIENCE, took / COST)

    def end(self, history: History, state: str, reason: str) -> None:
        self._view.__exit__(None, None, None)
        self._lines.write(f"{self._search} {state}{f': {reason}' if reason else ''}\n")

    def close(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        if (error := sys.exception()) is not None:
            known = isinstance(error, UserError)
            self._lines.write(f"{error}\n" if known else "".join(traceback.format_exception(error)))
        with suppress(UserError, OSError):
            self._store()

    def _store(self) -> None:
        self._artifacts.put_whole(self._search, self._name, redacted_text(self._lines.text()).encode())
        self._stored = self._lines.written


@final
class _Ends(io.StringIO):
    """A text that keeps its beginning and its end, each line with the time at which it came."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self._head, self._tail = "", ""
        self._cut = 0

    def write(self, text: str) -> int:
        clock = time.strftime("%Y-%m-%d %H:%M:%S ", time.gmtime())
        lines = "".join(f"{clock}{line}\n" for line in text.splitlines())
        room = HEAD - len(self._head)
        if lines and len(lines) <= room and not self._tail:
            self._head += lines
        else:
            self._tail += lines
            if len(self._tail) > 2 * TAIL:
                self._cut += len(self._tail) - TAIL
                self._tail = self._tail[-TAIL:]
        self.written += len(text)
        return len(text)

    def text(self) -> str:
        """What is left of it."""
        cut = f"[... {self._cut:,} characters ...]\n" if self._cut else ""
        return f"{self._head}{cut}{self._tail}"
