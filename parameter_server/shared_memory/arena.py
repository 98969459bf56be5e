"""Arena: the memory of a shard in one mapped file, which outlives its process at whatever moment that is killed.

What is mapped and shared is in the kernel's page cache, and stays there when every process has gone; so nothing is
ever flushed here, and an arena is worth nothing once the machine has been off: see `Plan.read`.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np

from parameter_server.piece import Piece
from parameter_server.shards.book import Book
from parameter_server.shards.heap import CAPACITY
from parameter_server.shards.memory import Memory
from parameter_server.shared_memory.arena_plan import Plan, UnsoundError, Views
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.shards.memory import Buffers

PATIENCE: Final = 2.0  # seconds for a process that was killed to let go of its lock
_POPULATE_WRITE: Final = 23  # madvise(2), Linux 5.14


@final
class Arena(Memory):
    """Two sets of buffers and two blocks for the book, in one file that only this process writes.

    A larger table of pieces is a new file in place of the old one; who has mapped that one sees it by its having no
    name any more (`ArenaReader.current`).
    """

    def __init__(self, path: Path, lock: int, file: mmap.mmap, book: Book, block: int) -> None:
        """For `create` and `open`."""
        self.path = path
        self._lock = lock
        self._block = block
        self._take(Plan.read(file), file, book)

    @classmethod
    def create(
        cls, path: Path, pieces: Sequence[Piece] = (), buffers: Sequence[Buffers] = (), book: Book | None = None
    ) -> Arena:
        """A new file in place of any other, with this state from the beginning; raises `StoreError` for a full disk."""
        book = Book.empty(0, CAPACITY) if book is None else book
        lock = _locked(path)
        try:
            return cls(path, lock, *_written(path, pieces, buffers, book))
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open(cls, path: Path) -> Arena:
        """Go on where a process ended; raises `UnsoundError` for a file not to be trusted, `FileNotFoundError`."""
        lock = _locked(path)
        try:
            file = _mapped(path)
            views = Views(file, Plan.read(file))
            block = _newest(views)
            book = Book(views.blocks[block].book.copy(), len(views.plan.pieces), views.plan.capacity)
            views.end_commit(book.sequence)
            return cls(path, lock, file, book, block)
        except BaseException:
            os.close(lock)
            raise

    def front(self, place: int) -> Buffers:
        return self._read[place][self.book.front(place)]

    def back(self, place: int) -> Buffers:
        return self._views.sets[place][1 - self.book.front(place)]

    def announce(self, place: int) -> None:
        self._views.marks[1 - self.book.front(place), place] += 1

    def commit(self, swapped: Sequence[int]) -> None:
        for place in swapped:
            self.book.swap(place)
        self.book.seal()
        block = 1 - self._block  # a death while it is written leaves the other
        self._views.blocks[block].write(_marks(self._views, self.book), self.book)
        self._views.end_commit(self.book.sequence)
        self._block = block

    def rollback(self) -> None:
        self.book.buffer[:] = self._views.blocks[self._block].book
        self.book.reread()

    def grow(self, pieces: Sequence[Piece], buffers: Sequence[Buffers], capacity: int) -> None:
        book = self.book.grown(len(self.pieces) + len(pieces), capacity)
        kept = [self.front(place) for place in range(len(self.pieces))]
        file, book, self._block = _written(self.path, (*self.pieces, *pieces), (*kept, *buffers), book)
        self._take(Plan.read(file), file, book)

    def reader(self) -> int:
        """A new descriptor of the file as it is now, which can only be read."""
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take(self, plan: Plan, file: mmap.mmap, book: Book) -> None:
        self._file = file  # unmapped when the last view of it is gone
        self._views = Views(file, plan)
        self._read = [(_read_only(first), _read_only(second)) for first, second in self._views.sets]
        self.pieces = plan.pieces
        self.book = book


def _written(
    path: Path, pieces: Sequence[Piece], buffers: Sequence[Buffers], book: Book
) -> tuple[mmap.mmap, Book, int]:
    """Write a whole file beside the one there is, and rename it: a death leaves the one or the other."""
    plan = Plan.of(pieces, [len(of) - 1 for of in buffers], int(book.header["capacity"][0]))
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    try:
        _allocate(beside, plan.size)
        file = _mapped(beside)
        file[: len(plan.header())] = plan.header()
        views = Views(file, plan)
        for place, of in enumerate(buffers):
            for mine, given in zip(views.sets[place][book.front(place)], of, strict=True):
                np.copyto(mine, given.reshape(-1))
        book.seal()
        for block in views.blocks:
            block.write(_marks(views, book), book)
        views.end_commit(book.sequence)
        os.rename(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return file, book, 0


def _allocate(path: Path, size: int) -> None:
    """A file with all its room on disk, for a mapped file that finds none kills its process (SIGBUS)."""
    try:
        with open(path, "xb", opener=_private) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                zeros = bytes(2**20)
                for start in range(0, size, len(zeros)):
                    file.write(zeros[: size - start])
    except OSError as error:
        raise StoreError(
            f"a file of {size:,} bytes cannot be made in {path.parent} ({error.strerror}): make room there"
        ) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _mapped(path: Path) -> mmap.mmap:
    """The file, with its pages at hand: the first writing to a page costs as much as copying ten."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not os.fstat(descriptor).st_size:
            raise UnsoundError(f"{path} is empty")
        file = mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)
    with suppress(OSError, ValueError):  # an older kernel, or another system
        file.madvise(_POPULATE_WRITE)
    return file


def _locked(path: Path) -> int:
    """Lock the arena for as long as the descriptor is open; raises `StoreError` while another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > limit:
                os.close(descriptor)
                raise StoreError(f"another process serves {path}: stop it first") from None
            time.sleep(0.02)
        else:
            return descriptor


def _newest(views: Views) -> int:
    """Which block counts; raises `UnsoundError` where none does, or not the last, or its numbers were written over."""
    pieces, capacity = len(views.plan.pieces), views.plan.capacity
    books = [Book(block.book, pieces, capacity) for block in views.blocks]
    sound = [number for number, book in enumerate(books) if views.blocks[number].sound() and book.sound()]
    if not sound:
        raise UnsoundError("both books of the arena are damaged")
    newest = max(sound, key=lambda number: books[number].sequence)
    lacking = views.lacks(books[newest].sequence)
    if lacking or (lacking is None and len(sound) < len(books)):
        raise UnsoundError("the newest book of the arena is damaged, and the one before lacks what was done since")
    if not np.array_equal(views.blocks[newest].marks, _marks(views, books[newest])):
        raise UnsoundError("the newest book of the arena is damaged, and numbers of the one before are written over")
    return newest


def _marks(views: Views, book: Book) -> NDArray[np.uint64]:
    """The marks of the sets that a book has in front."""
    marks: NDArray[np.uint64] = np.where(book.pieces["front"] == 1, views.marks[1], views.marks[0])
    return marks


def _read_only(buffers: Buffers) -> Buffers:
    arrays = tuple(buffer.view() for buffer in buffers)
    for array in arrays:
        array.flags.writeable = False
    return arrays
