"""The loop: ask, submit, wait, tell."""

from __future__ import annotations

from typing import Protocol

from nas.history import History
from nas.journal import POLL, Journal
from nas.strategy import Strategy
from workers.pool import Pool


class Observer(Protocol):
    """Watches a search from inside its driver."""

    def turn(self, history: History, pool: Pool) -> None:
        """A turn of the loop is over; be quick."""


def search(strategy: Strategy, pool: Pool, journal: Journal, observer: Observer | None = None) -> None:
    """Run until the strategy is exhausted or somebody asks to stop; every turn is one commit, before what it allows."""
    journal.replay(strategy)
    while not journal.over(strategy):
        for attempt in journal.ask(strategy, pool.free):
            pool.submit(attempt)
        for event in pool.wait(POLL):
            journal.tell(strategy, event)
        if observer is not None:
            observer.turn(journal.history, pool)
    journal.commit()
