"""ArenaReader: what a shard's arena says, for who may only read it, and asks nobody."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, final

import numpy as np

from parameter_server.link import Pulled
from parameter_server.messages.packing import checksum, copy
from parameter_server.outcome import Outcome
from parameter_server.shards.book import glance
from parameter_server.shared_memory.arena_plan import Plan, Views
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
        self._heads = [block.head.data for block in self._views.blocks]
        self._book = 8 + 8 * len(pieces)  # where it begins in a head

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
            head = self._head(attempt + 1 == TRIES)
            if head is None:
                continue
            seen = glance(head, len(self._places), self._book)
            newer = [place for place in places if newer_than is None or seen.changed[place] > newer_than]
            parts = dict(self._copied(place, seen.fronts[place], into) for place in newer)
            if all(self._views.marks[seen.fronts[place], place] == _word(head, 1 + place) for place in newer):
                return Pulled(seen.version, parts, seen.table)
        return None

    def close(self) -> None:
        """Let go of the file at once, and not only when nobody uses this any more."""
        self._closing()

    def _copied(self, place: int, side: int, into: Mapping[str, Array]) -> tuple[str, Array]:
        key, now = self._views.plan.pieces[place].key, self._views.sets[place][side][0]
        target = into[key] if key in into else np.empty_like(now)
        copy(target, now)
        return key, target

    def _head(self, dead: bool) -> bytes | None:
        """A copy of the newer head, and None while one is being written; with `dead`, of the one that is sound.

        While the older is being written, what the other said a moment ago may be older than what this once said.
        """
        copies = [bytes(head) for head in self._heads]
        sound = [head for head in copies if _word(head, 0) == checksum(memoryview(head)[8:])]
        return max(sound, key=self._sequence) if len(sound) == 2 or (dead and sound) else None

    def _sequence(self, head: bytes) -> int:
        return _word(head, len(self._places) + 2)


def _word(head: bytes, place: int) -> int:
    """The seal, or behind it the mark of a piece, or what is in the book behind these."""
    return int.from_bytes(head[8 * place : 8 * place + 8], "little")
