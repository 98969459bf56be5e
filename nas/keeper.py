"""Keeper: writes down now and then where a search stands, so that whoever looks need not read all of its journal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

from nas.log import Log
from nas.standing import Standing, snapshot, update
from workers.errors import UserError

EVERY = 2_000  # entries, which are read in 30 ms
COST = 0.01  # the share of the driver's time that this may take


@final
class Keeper:
    """Keeps the standing of a search in its log while it is driven; a log that does not take it does without.

    It hears what the log has, requests of other processes included, rather than what the driver wrote.
    """

    def __init__(
        self, log: Log, search: str, epoch: int, standing: Standing, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.log, self.search, self.epoch, self.standing = log, search, epoch, standing
        self._clock = clock
        self._due = clock() + 1.0
        self._kept = standing.mark[0] if standing.mark else 0
        self._broken = False

    def turn(self) -> None:
        """A turn of the loop is over: write, if that is due."""
        if (began := self._clock()) >= self._due:
            self._keep(EVERY)
            now = self._clock()
            self._due = now + max(1.0, (now - began) / COST)

    def end(self) -> None:
        """The driver is about to let the search go."""
        if self._kept or (self.standing.mark or (0,))[0] >= EVERY:
            self._keep(1)

    def _keep(self, least: int) -> None:
        if self._broken:
            return
        try:
            update(self.standing, self.log, self.search)
            last = self.standing.mark[0] if self.standing.mark else 0
            if last - self._kept >= least:
                self.log.keep(self.search, self.epoch, snapshot(self.standing))
                self._kept = last
        except UserError:  # a full disk, say, of which the journal has more to tell
            self._broken = True
