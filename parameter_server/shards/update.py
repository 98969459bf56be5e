"""Update: one step of some pieces of a shard, written behind what is read; a commit makes it count, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, final

import numpy as np

from parameter_server.piece import ITEM_SIZES, Piece
from parameter_server.policy import Policy
from parameter_server.shards.clocks import tick
from parameter_server.shards.kernels import CHUNK, finite
from parameter_server.shards.memory import Memory
from parameter_server.store import PushId

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.shards.memory import Buffers
    from parameter_server.store import Array

    Indices = NDArray[np.int64]


@final
class Stepping:
    """How the pieces of a memory step; keeps views of their chunks, so that a push allocates nothing."""

    def __init__(self, memory: Memory, policy: Policy) -> None:
        self.memory = memory
        self.policy = policy
        self._scratch = {dtype: np.empty(CHUNK // size, dtype) for dtype, size in ITEM_SIZES.items()}
        self.refresh()

    def refresh(self) -> None:
        """Look at the memory again, which has grown."""
        pieces = self.memory.pieces
        self.places = {piece.key: place for place, piece in enumerate(pieces)}
        self.groups = [self.policy.group(piece.name) for piece in pieces]
        self.writer: Update | None = None  # of what is behind
        self._lengths = [CHUNK // ITEM_SIZES[piece.dtype] for piece in pieces]
        self._views: list[list[list[tuple[Buffers, Buffers]] | None]] = [[None, None] for _ in pieces]

    def dense(self, place: int, start: int, gradient: Array, scale: float, rate: float) -> bool:
        """Step the elements from `start`; False, and nonsense behind, when the gradient is not finite."""
        group, length = self.groups[place], self._lengths[place]
        step, count = group.optimizer.step, self._count(place)
        chunks = self._chunks(place)
        end = start + len(gradient)
        position = start
        while position < end:
            number, inside = divmod(position, length)
            stop = min(end, (number + 1) * length)
            part = gradient[position - start : stop - start]
            if not finite(part):
                return False
            now, out = chunks[number]
            if inside or stop - position != len(now[0]):
                now, out = _cut(now, inside, stop - position + inside), _cut(out, inside, stop - position + inside)
            if scale != 1 or group.clip is not None:
                part = self._changed(part, scale, group.clip)
            step(now, out, part, count, rate)
            position = stop
        return True

    def rows(self, place: int, rows: Indices, values: Array, scale: float, rate: float) -> bool:
        """Step these rows and leave the others; False, and nonsense behind, when the gradient is not finite."""
        group = self.groups[place]
        if not finite(values):
            return False
        gradient = values.reshape(-1)
        if scale != 1:
            gradient = gradient * scale
        if group.clip is not None:
            gradient = np.clip(gradient, -group.clip, group.clip)
        front, back = self.memory.front(place), self.memory.back(place)
        for one, other in zip(front, back, strict=True):
            np.copyto(other, one)
        elements = within(self.memory.pieces[place], rows)
        now = tuple(one[elements] for one in front)
        out = tuple(np.empty_like(one) for one in now)
        group.optimizer.step(now, out, gradient, self._count(place), rate)
        for one, other in zip(out, back, strict=True):
            other[elements] = one
        return True

    def _count(self, place: int) -> int:
        return int(self.memory.book.pieces["steps"][place]) + 1

    def _chunks(self, place: int) -> list[tuple[Buffers, Buffers]]:
        front = self.memory.book.front(place)
        chunks = self._views[place][front]
        if chunks is None:
            length, size = self._lengths[place], self.memory.pieces[place].size
            now, out = self.memory.front(place), self.memory.back(place)
            chunks = [
                (_cut(now, start, start + length), _cut(out, start, start + length)) for start in range(0, size, length)
            ]
            self._views[place][front] = chunks
        return chunks

    def _changed(self, gradient: Array, scale: float, clip: float | None) -> Array:
        scratch: Array = self._scratch[gradient.dtype.name][: len(gradient)]
        if scale != 1:
            gradient = np.multiply(gradient, scale, out=scratch)
        if clip is not None:
            gradient = np.clip(gradient, -clip, clip, out=scratch)
        return gradient


@final
class Update:
    """Gradients go in, and either `commit` ends it, or it is forgotten and nothing has happened."""

    __slots__ = ("_begun", "_probe", "_rate", "_stepping", "_version")

    def __init__(self, stepping: Stepping, probe: Callable[[str], None], rate: float = 1.0) -> None:
        self._stepping = stepping
        self._probe = probe
        self._rate = rate
        self._begun: dict[int, int] = {}  # elements of places that were given so far
        self._version = stepping.memory.book.version
        probe("before apply")

    @property
    def stands(self) -> bool:
        """Whether all that was given is still behind: nobody else wrote there, and none was committed meanwhile."""
        alone = not self._begun or self._stepping.writer is self
        return alone and self._stepping.memory.book.version == self._version

    def dense(self, place: int, start: int, gradient: Array, scale: float) -> bool:
        """Step elements of a piece; False when they are not finite."""
        self._stepping.writer = self
        if place not in self._begun:
            self._stepping.memory.announce(place)
        with np.errstate(all="ignore"):
            fine = self._stepping.dense(place, start, gradient, scale, self._rate)
        self._given(place, len(gradient))
        return fine

    def rows(self, place: int, rows: Indices, values: Array, scale: float) -> bool:
        """Step rows of a piece; False when they are not finite."""
        self._stepping.writer = self
        self._stepping.memory.announce(place)
        with np.errstate(all="ignore"):
            fine = self._stepping.rows(place, rows, values, scale, self._rate)
        self._given(place, self._stepping.memory.pieces[place].size)
        return fine

    def _given(self, place: int, elements: int) -> None:
        if not self._begun:
            self._probe("inside apply")
        self._begun[place] = self._begun.get(place, 0) + elements

    def missing(self, places: Sequence[int]) -> bool:
        """Whether some of these pieces were not given as a whole."""
        pieces = self._stepping.memory.pieces
        return any(self._begun.get(place, 0) != pieces[place].size for place in places)

    def commit(self, pushes: Sequence[tuple[PushId, Sequence[int]]]) -> int:
        """Count each push on its ledgers, make that and the numbers durable, and give the version that they make."""
        memory = self._stepping.memory
        book, places = memory.book, list(self._begun)
        version = book.version + 1
        book.header["version"] = version
        book.pieces["changed"][places] = version
        book.pieces["steps"][places] += 1
        for push_id, ledgers in pushes:
            for ledger in ledgers:
                book.count(ledger, push_id.client, push_id.number)
            tick(book, push_id.client)
        self._probe("after apply")
        memory.commit(places)
        self._probe("after commit")
        return version


def _cut(buffers: Buffers, start: int, stop: int) -> Buffers:
    return tuple(buffer[start:stop] for buffer in buffers)


def within(piece: Piece, rows: Indices) -> Indices:
    """Which elements of a piece belong to rows of its tensor; rows at its edges may be cut."""
    elements: Indices = (rows[:, None] * piece.row + np.arange(piece.row) - piece.start).reshape(-1)
    return elements[(elements >= 0) & (elements < piece.size)]
