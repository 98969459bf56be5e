"""Learned: what a strategy worked out at length, kept in the log, so that the search's next driver need not again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from nas.log import Log, Snapshot
from nas.strategy import Strategy
from nas.versions import versions
from workers.errors import UserError

if TYPE_CHECKING:
    from nas.journal import Journal

NAME = "strategy"
FORMAT = 1  # of the content of all strategies; to be raised whenever one gives it another meaning
PAUSE = 10.0  # seconds between snapshots at least: what a driver that is killed has learned behind the last is lost
COST = 0.01  # the share of the driver's time that this may take


@final
class Learned:
    """Keeps what a strategy has learned while its search is driven; a log that does not take it does without."""

    def __init__(self, journal: Journal, strategy: Strategy, clock: Callable[[], float] = time.perf_counter) -> None:
        self._journal, self._strategy, self._clock = journal, strategy, clock
        self._due = clock() + PAUSE
        self._kept: int | None = None  # a hash of what was kept last
        self._broken = False

    def turn(self) -> None:
        """A turn of the loop is over: write, if that is due."""
        if (began := self._clock()) >= self._due:
            self._keep()
            now = self._clock()
            self._due = now + max(PAUSE, (now - began) / COST)

    def end(self) -> None:
        """The driver is about to let the search go."""
        self._keep()

    def _keep(self) -> None:
        content = None if self._broken else self._strategy.snapshot()
        if content is None or hash(content) == self._kept:
            return
        journal = self._journal
        try:
            journal.log.keep(journal.search, journal.epoch, Snapshot(NAME, journal.written, release(), content))
            self._kept = hash(content)
        except UserError:  # a full disk, say, of which the journal has more to tell
            self._broken = True


def recall(strategy: Strategy, log: Log, search: str) -> bool:
    """Let a strategy that has heard the history go on from what was kept, if that fits; whether it did."""
    kept = log.snapshot(search, NAME)
    return kept is not None and kept.release == release() and strategy.recall(kept.content)


def release() -> str:
    """Which code wrote a snapshot: another one's is not read."""
    return f"{versions().get('cellwright', '')}/{FORMAT}"
