"""ArenaReader: what a shard's arena says, for who may only read it, and asks nobody."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, final

import numpy as np

from parameter_server.link import Pulled
from parameter_server.outcome import Outcome
from parameter_server.shards.book import Book
from parameter_server.shared_memory.arena_plan import Block, Plan, Views
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from parameter_server.store import Array

TRIES: Final = 4


@final
class ArenaReader:
    """A file of an arena, mapped to be read; what is pulled is whole and of one version, or None.

    It relies on stores of one processor being seen by others in their order, as on x86-64 (`ORDERED` in `slots.py`).
    A piece that is pulled lies in front; it is written over only by the next update but one. That update counts up
    the mark of what it writes over before it does so: marks that are still those of the book vouch for the copy.
    """

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over; raises `UnsoundError` for what is no arena."""
        self._descriptor = descriptor
        self._closing = weakref.finalize(self, os.close, descriptor)
        try:
            file = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            self._views = Views(file, Plan.read(file))
        except BaseException:
            self._closing()
            raise
        pieces = self._views.plan.pieces
        self._places = {piece.key: place for place, piece in enumerate(pieces)}

    def current(self) -> bool:
        """Whether this is still the shard's file, and not one that has been replaced."""
        return os.fstat(self._descriptor).st_nlink > 0

    def pull(self, keys: Sequence[str], newer_than: int | None, into: Mapping[str, Array]) -> Pulled | None:
        """As `Link.pull`; None when the shard wrote over it each time."""
        try:
            places = [self._places[key] for key in keys]
        except KeyError as error:
            raise StoreError(f"there is no piece {error.args[0]!r}: create it first", Outcome.UNKNOWN_NAME) from None
        for attempt in range(TRIES):
            block = self._block(attempt + 1 == TRIES)
            if block is None:
                continue
            book = Book(block.book, len(self._views.plan.pieces), 0)
            changed = book.pieces["changed"].tolist()
            newer = [place for place in places if newer_than is None or changed[place] > newer_than]
            fronts = book.pieces["front"].tolist()
            parts = dict(self._copied(place, fronts[place], into) for place in newer)
            if all(self._views.marks[fronts[place], place] == block.marks[place] for place in newer):
                return Pulled(book.version, parts, int(book.header["table"][0]))
        return None

    def close(self) -> None:
        """Let go of the file at once, and not only when nobody uses this any more."""
        self._closing()

    def _copied(self, place: int, side: int, into: Mapping[str, Array]) -> tuple[str, Array]:
        key, now = self._views.plan.pieces[place].key, self._views.sets[place][side][0]
        target = into[key] if key in into else np.empty_like(now)
        np.copyto(target, now)
        return key, target

    def _block(self, dead: bool) -> Block | None:
        """A copy of the newer block, and None while one is being written; with `dead`, of the one that is sound.

        While the older is being written, what the other said a moment ago may be older than what this once said.
        """
        copies = [Block(block.head.copy(), len(self._views.plan.pieces)) for block in self._views.blocks]
        sound = [block for block in copies if block.sound()]
        return max(sound, key=_sequence) if len(sound) == 2 or (dead and sound) else None


def _sequence(block: Block) -> int:
    return int(block.book[8:16].view(np.uint64)[0])
