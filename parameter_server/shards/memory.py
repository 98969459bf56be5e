"""Memory: where a shard's numbers are, twice: one copy is read, the other written, and a commit swaps them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from parameter_server.piece import Piece
from parameter_server.shards.book import Book

if TYPE_CHECKING:
    from parameter_server.store import Array

    Buffers: TypeAlias = tuple[
        Array, ...
    ]  # flat and of one length: a piece's values, then what its optimizer remembers


class Memory(ABC):
    """Two sets of buffers for every piece, and the book that says which is in front.

    Whoever dies before `commit` returns has changed nothing; after it, everything. What is behind holds anything.
    """

    pieces: tuple[Piece, ...]
    book: Book

    @abstractmethod
    def front(self, place: int) -> Buffers:
        """The current numbers of `pieces[place]`, read-only."""

    @abstractmethod
    def back(self, place: int) -> Buffers:
        """Where the next numbers of `pieces[place]` are written."""

    def announce(self, place: int) -> None:
        """The back of `pieces[place]` is about to be written to: to be called once per update, before.

        Whoever reads without a lock what was in front before finds out by this.
        """

    @abstractmethod
    def commit(self, swapped: Sequence[int]) -> None:
        """Make the book durable as it is now, with the backs of these pieces in front."""

    @abstractmethod
    def rollback(self) -> None:
        """Forget what was written to the book since the last commit."""

    @abstractmethod
    def grow(self, pieces: Sequence[Piece], buffers: Sequence[Buffers], capacity: int) -> None:
        """Add pieces with these numbers, and make room for `capacity` clients; commits, all or nothing.

        Views that were given before are invalid afterwards, and so are those into the book, which is a new object.
        """

    def close(self) -> None:
        """Let go of the memory; what is durable stays."""
