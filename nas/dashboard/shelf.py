"""Shelf: the books that are open, a bounded number of them, read in the background."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import final

from nas.dashboard.book import Book
from nas.log import Header, Log
from nas.reports.chart import Point
from workers.errors import UserError

BOOKS = 8
TRIALS = 200_000  # in all open books: 4.4 KiB each (benchmarks/dashboard.py)
READERS = 2
LISTED = 1.0  # seconds for which a list of searches is good
AGE = 10.0  # seconds after which the digest of a search that runs, and is on no shelf, is made again


@final
@dataclass(frozen=True)
class Digest:
    """What the list of searches says of one whose book may be closed again; `of` tells whether it is out of date."""

    of: tuple[str, int, float]
    trials: int
    ended: int
    running: int
    limit: int | None
    best: str
    baseline: str
    line: Sequence[Point]


@final
class Shelf:
    """Opens the books that are asked for, closes those that nobody looked at for longest, keeps a digest of each."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.digests: dict[str, Digest] = {}
        self._books: dict[str, Book] = {}
        self._noting: set[str] = set()
        self._tried: dict[str, float] = {}
        self._lock = Lock()
        self._readers = ThreadPoolExecutor(READERS, "dashboard-reader")
        self._notes = ThreadPoolExecutor(1, "dashboard-notes")  # of hundreds of searches; who opens one goes first
        self._headers: tuple[float, Sequence[Header]] = (-LISTED, ())

    def searches(self) -> Sequence[Header]:
        """Every search, the newest first."""
        with self._lock:
            made, headers = self._headers
            if time.monotonic() - made >= LISTED:
                headers = sorted(self.log.searches(), key=lambda header: header.created, reverse=True)
                self._headers = (time.monotonic(), headers)
            return headers

    def book(self, search: str, patience: float = 0.4) -> Book:
        """The book of a search; within `patience` seconds it is read, or else `ready` is not set yet.

        NotFoundError where there is no such search; what went wrong while it was read.
        """
        book = self._opened(search)
        if book.ready.is_set() and book.error is None:
            book.catch_up()
            if book.replaced:
                book = self._opened(search)
        if not book.ready.is_set():
            book.ready.wait(patience)
        if book.error is not None:
            raise book.error
        self._make_room(book)
        return book

    def open(self) -> Mapping[str, Book]:
        """The books that are read, and say what their journals say."""
        with self._lock:
            self._books = {search: book for search, book in self._books.items() if not book.stale}
            return {s: book for s, book in self._books.items() if book.ready.is_set() and book.error is None}

    def want(self, headers: Sequence[Header], noted: Callable[[Log, Header], Digest]) -> None:
        """Have digests that are missing or out of date made in the background, by `noted`."""
        for header in headers:
            with self._lock:
                if header.search in self._books or header.search in self._noting or not self._stale(header):
                    continue
                self._noting.add(header.search)
            self._notes.submit(self._note, header, noted)

    def keep(self, search: str, digest: Digest) -> None:
        """Remember the digest of a search after its book is closed."""
        self.digests[search] = digest

    def close(self) -> None:
        """Read no more."""
        for threads in (self._readers, self._notes):
            threads.shutdown(wait=True, cancel_futures=True)

    def _opened(self, search: str) -> Book:
        """The book that is there, or one that is read from now on."""
        with self._lock:
            book = self._books.get(search)
            if book is None or book.stale:
                book = self._books[search] = Book(self.log, search)
                self._readers.submit(self._read, book)
            book.used = time.monotonic()
            return book

    def _stale(self, header: Header) -> bool:
        if header.state == "damaged" or time.monotonic() - self._tried.get(header.search, -AGE) < AGE:
            return False
        digest = self.digests.get(header.search)
        return digest is None or digest.of != stamp(header)

    def _note(self, header: Header, noted: Callable[[Log, Header], Digest]) -> None:
        try:
            self.digests[header.search] = noted(self.log, header)
        except UserError:  # the page of the search says it
            return
        finally:
            with self._lock:
                self._noting.discard(header.search)
                self._tried[header.search] = time.monotonic()

    def _read(self, book: Book) -> None:
        began = time.monotonic()
        try:
            book.catch_up()
        except Exception as error:  # said on the page of this search; the others go on
            book.fail(error, began)

    def _make_room(self, kept: Book) -> None:
        """Close the books that were not asked for lately; those of searches that run stay as long as they can."""
        with self._lock:
            order = sorted(self._books.values(), key=lambda book: (book.state == "running", book.used))
            for book in order:
                trials = sum(len(one.history.trials) for one in self._books.values())
                if len(self._books) <= BOOKS and trials <= TRIALS:
                    return
                if book is not kept and book.ready.is_set():
                    del self._books[book.search]


def stamp(header: Header) -> tuple[str, int, float]:
    """What changes of a header when the search goes on."""
    return header.state, header.epoch, header.heartbeat
