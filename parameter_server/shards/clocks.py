"""Clocks: how many pushes of each client were counted, and who is too far ahead of the slowest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parameter_server.shards.book import Book


def slowest(book: Book, present: Iterable[str]) -> int | None:
    """The lowest clock of those who are present; None when nobody is."""
    places = [book.rows[0, name] for name in present]
    return int(book.clients["clock"][places].min()) if places else None


def ahead(book: Book, client: str, clock: int | None) -> int:
    """By how many pushes a client is ahead of a clock; of none, by 0."""
    return 0 if clock is None else int(book.clients["clock"][book.rows[0, client]]) - clock


def tick(book: Book, client: str) -> None:
    """One more push of a client was counted."""
    book.client(0, client)["clock"] += 1


def catch_up(book: Book, client: str, staleness: int) -> bool:
    """Set the clock of a client that joins: as it was, or so that nobody has to wait for it yet; whether it changed.

    Clients that were present together are at most `staleness` + 1 apart; who is farther behind the fastest was away.
    So a clock that this leaves alone after a restart of the shard goes on exactly where it was.
    """
    row = book.client(0, client)
    used = int(book.header["clients"][0])
    fastest = int(book.clients["clock"][:used].max())
    behind = int(row["clock"]) < fastest - staleness - 1
    if behind:
        row["clock"] = fastest - staleness
    return behind
