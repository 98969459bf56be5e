"""HeapMemory: the memory of a shard that lives and dies with this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np

from parameter_server.piece import Piece
from parameter_server.shards.book import Book
from parameter_server.shards.memory import Memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.shards.memory import Buffers

CAPACITY = 16  # clients that there is room for at first


@final
class HeapMemory(Memory):
    """Buffers in this process; nothing of it is left when the process ends."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.pieces: tuple[Piece, ...] = ()
        self.book = Book.empty(0, capacity)
        self.book.seal()
        self._committed: NDArray[np.uint8] = self.book.buffer.copy()
        self._sets: list[tuple[Buffers, Buffers]] = []  # of a piece: those in front while its bit is 0, while it is 1
        self._read: list[tuple[Buffers, Buffers]] = []  # the same, not to be written to

    def front(self, place: int) -> Buffers:
        return self._read[place][self.book.front(place)]

    def back(self, place: int) -> Buffers:
        return self._sets[place][1 - self.book.front(place)]

    def commit(self, swapped: Sequence[int]) -> None:
        for place in swapped:
            self.book.swap(place)
        self.book.seal()
        self._committed[:] = self.book.buffer

    def rollback(self) -> None:
        self.book.buffer[:] = self._committed
        self.book.reread()

    def grow(self, pieces: Sequence[Piece], buffers: Sequence[Buffers], capacity: int) -> None:
        sets = [(tuple(_kept(one) for one in of), tuple(np.empty_like(one) for one in of)) for of in buffers]
        self.book = self.book.grown(len(self.pieces) + len(pieces), capacity)
        self.pieces = (*self.pieces, *pieces)
        self._sets += sets
        self._read += [(_read_only(first), _read_only(second)) for first, second in sets]
        self._committed = np.empty_like(self.book.buffer)
        self.commit(())


def _kept(array: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.array(array).reshape(-1)


def _read_only(buffers: Buffers) -> Buffers:
    views = tuple(buffer.view() for buffer in buffers)
    for view in views:
        view.flags.writeable = False
    return views
