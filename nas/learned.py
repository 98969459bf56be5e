"""Learned: what a strategy worked out at length, kept in the log, so that the search's next driver need not again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from nas.log import Snapshot
from nas.provenance import provenance
from nas.strategy import Strategy
from workers.errors import UserError, in_words

if TYPE_CHECKING:
    from nas.journal import Journal

NAME = "strategy"
PAUSE = 10.0  # seconds between snapshots at least: what a driver that is killed has learned behind the last is lost
COST = 0.01  # the share of the driver's time that this may take


@final
class Learned:
    """Keeps what a strategy has learned while its search is driven; a log that does not take it does without."""

    def __init__(self, journal: Journal, strategy: Strategy, clock: Callable[[], float] = time.perf_counter) -> None:
        self._journal, self._strategy, self._clock = journal, strategy, clock
        self._provenance = provenance(strategy)  # its files may be changed while it runs
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
        content = None if self._broken else self._content()
        if content is None or hash(content) == self._kept:
            return
        journal = self._journal
        try:
            journal.log.keep(journal.search, journal.epoch, Snapshot(NAME, journal.written, self._provenance, content))
            self._kept = hash(content)
        except UserError:  # a full disk, say, of which the journal has more to tell
            self._broken = True

    def _content(self) -> bytes | None:
        try:
            content = self._strategy.snapshot()
            if not isinstance(content, bytes | None):
                raise TypeError(f"its snapshot is of type {type(content).__name__}, but must be bytes")
        except Exception as error:  # of a user's own strategy; the search can do without
            self._broken = True
            said = f"{_name(self._strategy)} cannot say what it has learned ({in_words(error)})"
            self._journal.note(f"{said}: the next driver will learn it anew")
            return None
        return content


def recall(journal: Journal, strategy: Strategy) -> bool:
    """Let a strategy that has heard the history go on from what was kept, if that fits; whether it did.

    What other code than this has kept does not fit. Where a strategy fails at what it kept itself, nobody knows how
    much of that it has taken over: UserError, and the next driver finds nothing kept.
    """
    kept = journal.log.snapshot(journal.search, NAME)
    if kept is None or kept.release != provenance(strategy):
        return False
    try:
        return strategy.recall(kept.content)
    except Exception as error:
        journal.log.keep(journal.search, journal.epoch, Snapshot(NAME, journal.written, "", b""))
        raise UserError(
            f"{_name(strategy)} cannot go on from what it had kept ({in_words(error)}): that is forgotten now, so "
            f"`nas resume {journal.search}` has it learn anew from the journal"
        ) from error


def _name(strategy: Strategy) -> str:
    while (inner := getattr(strategy, "inner", None)) is not None:
        strategy = inner
    return type(strategy).__name__
