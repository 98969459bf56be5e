"""Book: what a shard must remember besides numbers; versions, and which pushes were counted, in one flat buffer.

The buffer is copied and checked as a whole, so that a memory can make it durable in one step together with the
buffers of the pieces that it calls current.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import xxhash

from parameter_server.store import WINDOW, StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

REMEMBERED: Final = 8  # of a client's last pushes, the versions they made
NAME: Final = 96  # bytes of a client's name
INCARNATION: Final = 2**40  # versions of an incarnation: more than a shard can take

_HEADER: Final = np.dtype(
    [
        ("checksum", "<u8"),  # of all that follows
        ("sequence", "<u8"),  # of commits; the higher of two sound books counts
        ("version", "<u8"),  # updates taken
        ("incarnation", "<u8"),  # how often an older state than the last one had to do
        ("epoch", "<u8"),  # of the driver
        ("round", "<u8"),  # of a synchronous store
        ("table", "<u8"),  # version of the table of pieces
        ("pieces", "<u4"),
        ("clients", "<u4"),  # rows that are used
        ("capacity", "<u4"),  # rows that there are
        ("unused", "<u4"),
    ]
)
_PIECE: Final = np.dtype([("changed", "<u8"), ("steps", "<u8"), ("front", "u1"), ("ledger", "<u2"), ("unused", "V5")])
_CLIENT: Final = np.dtype(
    [
        ("name", f"S{NAME}"),
        ("ledger", "<u8"),
        ("attempt", "<i8"),
        ("highest", "<i8"),  # number of a push that was counted; -1: none yet
        ("mask", "<u8"),  # bit i: push highest - i was counted
        ("clock", "<u8"),  # pushes that were counted, or what it was set to when the client joined; of ledger 0
        ("versions", "<u8", (REMEMBERED,)),  # of push n at n modulo 8
    ]
)
_WORDS: Final = struct.Struct("<7Q")  # the header up to `table`


@final
@dataclass(frozen=True, slots=True)
class Glance:
    """What a book says of versions, and of each piece when it changed and which set of buffers is in front."""

    version: int
    table: int
    changed: list[int]
    fronts: list[int]


def glance(data: bytes, pieces: int, start: int) -> Glance:
    """Look at a copy of a book that begins at `start`, for who reads numbers only and needs no `Book`."""
    _, _, version, _, _, _, table = _WORDS.unpack_from(data, start)
    rows = np.frombuffer(data, _PIECE, pieces, start + _HEADER.itemsize)
    return Glance(version, table, rows["changed"].tolist(), rows["front"].tolist())


@final
class Book:
    """Views into one buffer of bytes; writing to them is not durable before a memory commits.

    Ledgers: the pieces of a shard that were counted together since they were created share one. A shard that was
    loaded from a checkpoint of another number of shards has the ledgers of those its pieces come from, for a push
    may have been counted on one of them and not on the other.
    """

    def __init__(self, buffer: NDArray[np.uint8], pieces: int, capacity: int) -> None:
        self.buffer = buffer
        self.header: Any = buffer[: _HEADER.itemsize].view(_HEADER)[0:1]
        end = _HEADER.itemsize + pieces * _PIECE.itemsize
        self.pieces: Any = buffer[_HEADER.itemsize : end].view(_PIECE)
        self.clients: Any = buffer[end : end + capacity * _CLIENT.itemsize].view(_CLIENT)
        self._fronts = self.pieces["front"]
        self.rows: dict[tuple[int, str], int] = {}  # places of clients, by ledger and name
        self.reread()

    @staticmethod
    def size(pieces: int, capacity: int) -> int:
        """Bytes of a book."""
        return _HEADER.itemsize + pieces * _PIECE.itemsize + capacity * _CLIENT.itemsize

    @classmethod
    def empty(cls, pieces: int, capacity: int) -> Book:
        buffer = np.zeros(cls.size(pieces, capacity), np.uint8)
        book = cls(buffer, pieces, capacity)
        book.header["pieces"], book.header["capacity"] = pieces, capacity
        return book

    def reread(self) -> None:
        """Find the clients and ledgers in a buffer that was copied from elsewhere, or whose ledgers were changed."""
        self.ledgers = sorted({0, *self.pieces["ledger"].tolist()})
        used = self.clients[: int(self.header["clients"][0])]
        self.rows = {(int(row["ledger"]), row["name"].decode()): place for place, row in enumerate(used)}

    def seal(self) -> None:
        """Number the buffer, and write its checksum."""
        self.header["sequence"] += 1
        self.header["checksum"] = xxhash.xxh3_64_intdigest(self.buffer[8:].data)

    def sound(self) -> bool:
        """Whether the checksum fits."""
        return bool(self.header["checksum"][0] == xxhash.xxh3_64_intdigest(self.buffer[8:].data))

    @property
    def version(self) -> int:
        return int(self.header["version"][0])

    @property
    def sequence(self) -> int:
        """How often it was sealed."""
        return int(self.header["sequence"][0])

    def grown(self, pieces: int, capacity: int) -> Book:
        """The same in a larger buffer; new pieces have never stepped, and belong to ledger 0."""
        book = Book.empty(pieces, capacity)
        for name in ("sequence", "version", "incarnation", "epoch", "round", "table", "clients"):
            book.header[name] = self.header[name]
        book.pieces[: len(self.pieces)] = self.pieces
        book.pieces["changed"][len(self.pieces) :] = self.version
        used = int(self.header["clients"][0])
        book.clients[:used] = self.clients[:used]
        book.reread()
        return book

    def reincarnate(self) -> None:
        """Go on from a state older than one that was acknowledged: whatever anybody has seen is out of date."""
        self.header["incarnation"] += 1
        self.header["version"] = int(self.header["incarnation"][0]) * INCARNATION + self.version % INCARNATION
        self.pieces["changed"] = self.header["version"][0]

    def front(self, place: int) -> int:
        """Which of a piece's two sets of buffers is in front, 0 or 1."""
        return int(self._fronts[place])

    def swap(self, place: int) -> None:
        self._fronts[place] ^= 1

    @property
    def full(self) -> bool:
        """Whether there is no row left for another client."""
        return bool(self.header["clients"][0] >= self.header["capacity"][0])

    def client(self, ledger: int, name: str) -> Any:
        """The row of a client, a new one if need be; raises `StoreError` when its name is too long."""
        place = self.rows.get((ledger, name))
        if place is None:
            encoded = name.encode()
            if not 0 < len(encoded) <= NAME or b"\0" in encoded:
                raise StoreError(f"a client is called {name!r}, but names have 1 to {NAME} bytes, none of them 0")
            if self.full:
                raise StoreError(f"there are {self.header['capacity'][0]} clients in the book: make room first")
            place = int(self.header["clients"][0])
            self.header["clients"] += 1
            self.clients[place] = (encoded, ledger, 0, -1, 0, 0, 0)
            self.rows[ledger, name] = place
        return self.clients[place]

    def next_number(self, name: str) -> int:
        """One more than the highest number that a client has on any ledger."""
        rows = [self.rows[ledger, name] for ledger in self.ledgers if (ledger, name) in self.rows]
        return 1 + max((int(self.clients[row]["highest"]) for row in rows), default=-1)

    def counted(self, ledger: int, name: str, number: int) -> int | None:
        """The version that a push made, if it was counted; where that is forgotten, the version now."""
        place = self.rows.get((ledger, name))
        if place is None:
            return None
        row = self.clients[place]
        back = int(row["highest"]) - number
        if back < 0 or (back < WINDOW and not int(row["mask"]) >> back & 1):
            return None
        return int(row["versions"][number % REMEMBERED]) if back < REMEMBERED else self.version

    def count(self, ledger: int, name: str, number: int) -> None:
        """Write down that a push is in the version that the header has now."""
        row = self.client(ledger, name)
        ahead = number - int(row["highest"])
        if ahead > 0:
            row["mask"] = (int(row["mask"]) << ahead | 1) & (2**WINDOW - 1) if ahead < WINDOW else 1
            row["highest"] = number
        elif -ahead < WINDOW:
            row["mask"] = int(row["mask"]) | 1 << -ahead
        if -ahead < REMEMBERED:  # else the place is that of a higher number
            row["versions"][number % REMEMBERED] = self.header["version"][0]
