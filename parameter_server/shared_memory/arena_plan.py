"""Plan: what is where in the file of an arena, and how the file itself says so.

A page of header with checksum, and with the number of the last commit at its end; the table of pieces as JSON, with a
checksum; for every piece and each of its two sets of buffers a mark, counted up before the set is written over; two
blocks for the book; the buffers.

A block is a seal, the marks of the sets in front, and the bytes of the book. The seal is a checksum of all but the
clients, of which the book has one of its own: so who only reads numbers checks a few hundred bytes.

The number of the last commit is one word, written once its block is whole: so a newest block that was torn by a death
is told from one that was damaged later, whose commit was acknowledged.
"""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import xxhash

from parameter_server.piece import Piece
from parameter_server.shards.book import Book
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from mmap import mmap

    from numpy.typing import NDArray

    from parameter_server.shards.memory import Buffers

PAGE: Final = 4096
LINE: Final = 64  # bytes that a processor moves at once; buffers begin at multiples
LONGEST: Final = 2**28  # bytes of the table of pieces

_HEADER: Final = struct.Struct("<8s64sQQQ")  # magic, boot, bytes of the file, bytes and checksum of the table
_SUM: Final = struct.Struct("<Q")
_MAGIC: Final = b"cwarena2"
_HALF: Final = 2**32 - 1


@final
class UnsoundError(StoreError):
    """The file is no arena, is damaged, or is of before the machine last started: its numbers are not to be used."""


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """Offsets in bytes; `sets[place]` has those of a piece's two sets of buffers. `slots` are buffers beside values."""

    pieces: tuple[Piece, ...]
    slots: tuple[int, ...]
    capacity: int
    table: bytes
    marks: int
    blocks: tuple[int, int]
    sets: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    size: int

    @classmethod
    def of(cls, pieces: Sequence[Piece], slots: Sequence[int], capacity: int) -> Plan:
        """Where everything goes, for pieces whose optimizers remember so many arrays, and room for so many clients."""
        table = json.dumps(
            {"pieces": [piece.to_json() for piece in pieces], "slots": list(slots), "capacity": capacity}
        ).encode()
        marks = _up(PAGE + len(table), PAGE)
        first = _up(marks + 16 * len(pieces), PAGE)
        second = _up(first + block_size(len(pieces), capacity), PAGE)
        end = _up(second + block_size(len(pieces), capacity), PAGE)
        sets = []
        for piece, more in zip(pieces, slots, strict=True):
            step = _up(piece.bytes, LINE)
            offsets = [end + step * number for number in range(2 * (1 + more))]
            sets.append((tuple(offsets[: 1 + more]), tuple(offsets[1 + more :])))
            end += 2 * (1 + more) * step
        return cls(tuple(pieces), tuple(slots), capacity, table, marks, (first, second), tuple(sets), _up(end, PAGE))

    def header(self) -> bytes:
        """The beginning of the file, up to the marks."""
        head = _HEADER.pack(_MAGIC, boot().encode(), self.size, len(self.table), xxhash.xxh3_64_intdigest(self.table))
        page = head + _SUM.pack(xxhash.xxh3_64_intdigest(head))
        return page.ljust(PAGE, b"\0") + self.table

    @classmethod
    def read(cls, file: mmap) -> Plan:
        """What a file says of itself; raises `UnsoundError` when it is not whole, or of before the last boot."""
        end = _HEADER.size + _SUM.size
        if len(file) < PAGE or file[: len(_MAGIC)] != _MAGIC:
            raise UnsoundError("this is no arena")
        head = file[: _HEADER.size]
        if file[_HEADER.size : end] != _SUM.pack(xxhash.xxh3_64_intdigest(head)):
            raise UnsoundError("the header of the arena is damaged")
        _, at, size, length, checksum = _HEADER.unpack(head)
        if not boot() or at.rstrip(b"\0") != boot().encode():
            raise UnsoundError("the arena is of before the machine last started, and may lack what was not yet on disk")
        table = file[PAGE : PAGE + min(length, LONGEST)]
        if size != len(file) or xxhash.xxh3_64_intdigest(table) != checksum:
            raise UnsoundError("the table of pieces of the arena is damaged")
        data = json.loads(table)
        plan = cls.of([Piece.from_json(piece) for piece in data["pieces"]], data["slots"], data["capacity"])
        if plan.size != size or plan.table != table:
            raise UnsoundError("the arena is of another version of this program")
        return plan


@final
class Views:
    """A mapped file, as the arrays that are in it."""

    def __init__(self, file: mmap, plan: Plan) -> None:
        self.plan = plan
        pieces = len(plan.pieces)
        self._last: NDArray[np.uint64] = np.ndarray(1, np.uint64, file, PAGE - _SUM.size)
        self.marks: NDArray[np.uint64] = np.ndarray((2, pieces), np.uint64, file, plan.marks)
        size = block_size(pieces, plan.capacity)
        self.blocks = tuple(Block(np.ndarray(size, np.uint8, file, offset), pieces) for offset in plan.blocks)
        self.sets: list[tuple[Buffers, Buffers]] = [
            (_arrays(file, piece, first), _arrays(file, piece, second))
            for piece, (first, second) in zip(plan.pieces, plan.sets, strict=True)
        ]

    def end_commit(self, sequence: int) -> None:
        """The block of this commit is whole. The word is written at once, and its halves vouch for each other."""
        low = sequence & _HALF
        self._last[0] = low << 32 | low ^ _HALF

    def lacks(self, sequence: int) -> int | None:
        """How many commits that ended came after this one; None when the word is damaged."""
        word = int(self._last[0])
        low = word >> 32
        if low ^ _HALF != word & _HALF:
            return None
        after = (low - sequence) & _HALF
        return 0 if after == _HALF else after  # one may have died before it ended


@final
class Block:
    """One of the two places of the book, or a copy of the part that is sealed."""

    def __init__(self, bytes_: NDArray[np.uint8], pieces: int) -> None:
        self.head = bytes_[: _SUM.size + 8 * pieces + Book.size(pieces, 0)]
        self.sealed = self.head[_SUM.size :].data
        self.seal: NDArray[np.uint64] = bytes_[: _SUM.size].view(np.uint64)
        self.marks: NDArray[np.uint64] = self.head[_SUM.size : _SUM.size + 8 * pieces].view(np.uint64)
        self.book = bytes_[_SUM.size + 8 * pieces :]

    def write(self, marks: NDArray[np.uint64], book: Book) -> None:
        """Put a book that is sealed here; a reader, and who opens the file after a death, sees all of it or nothing."""
        self.marks[:] = marks
        self.book[:] = book.buffer
        self.seal[0] = xxhash.xxh3_64_intdigest(self.sealed)

    def sound(self) -> bool:
        """Whether the seal fits; of the clients this says nothing."""
        return bool(self.seal[0] == xxhash.xxh3_64_intdigest(self.sealed))


def block_size(pieces: int, capacity: int) -> int:
    """Bytes of a block."""
    return _SUM.size + 8 * pieces + Book.size(pieces, capacity)


@cache
def boot() -> str:
    """What names this start of the machine; "" where that cannot be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        asked = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False)
        return asked.stdout.strip()


def _arrays(file: mmap, piece: Piece, offsets: Sequence[int]) -> tuple[NDArray[Any], ...]:
    return tuple(np.ndarray(piece.size, piece.dtype, file, offset) for offset in offsets)


def _up(offset: int, step: int) -> int:
    return -(-offset // step) * step
