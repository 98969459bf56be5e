"""Snapshot: one shard's state in one file, whole or not there at all; the one before is kept."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import xxhash

from parameter_server.piece import Piece
from parameter_server.policy_json import policy_to_json
from parameter_server.shards.book import Book
from parameter_server.shards.memory import Memory
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.files.log import Log
    from parameter_server.policy import Policy
    from parameter_server.shards.memory import Buffers
    from parameter_server.shards.shard import Shard

FORMAT: Final = 1
KEPT: Final = 2  # the newest, and one in case that turns out to be damaged
ARRAYS: Final = 8  # of a piece, with all that an optimizer remembers, at most
_MAGIC: Final = b"CWSNAP01"
_ALIGNED: Final = 64
_DIGEST: Final = 16  # bytes of xxh3_128
_NUMBER: Final = "[0-9]" * 9  # of the files that are ours: people put others beside them
_GLOB: Final = f"snapshot-{_NUMBER}"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """The state of a shard at one moment: its pieces, what is in front of each, and its book (as bytes)."""

    number: int
    shards: int
    policy: dict[str, Any]
    pieces: tuple[Piece, ...]
    buffers: tuple[Buffers, ...]
    book: NDArray[np.uint8]

    def read_book(self) -> Book:
        """The book, in bytes of its own."""
        pieces = len(self.pieces)
        row = Book.size(pieces, 1) - Book.size(pieces, 0)
        return Book(self.book.copy(), pieces, (self.book.size - Book.size(pieces, 0)) // row)

    def pour(self, memory: Memory, policy: Policy | None = None) -> None:
        """Make an empty memory hold this; raises `StoreError` when optimizers of `policy` remember other things."""
        if policy is not None:
            self._check(policy)
        book = self.read_book()
        if not book.header["clients"][0] <= book.header["capacity"][0] <= len(book.clients):
            raise StoreError("its book says that it is larger than it is")
        memory.grow(self.pieces, self.buffers, int(book.header["capacity"][0]))
        _copy_book(book, memory.book)
        memory.commit(())

    def _check(self, policy: Policy) -> None:
        for piece, buffers in zip(self.pieces, self.buffers, strict=True):
            optimizer = policy.group(piece.name).optimizer
            if len(buffers) != 1 + len(optimizer.slots):
                raise StoreError(
                    f"{piece.name} was saved with {len(buffers) - 1} arrays that its optimizer remembers, but "
                    f"{type(optimizer).__name__} remembers {len(optimizer.slots)}: open it with the policy that it had"
                )


def _copy_book(source: Book, book: Book) -> None:
    """Copy all but where in the memory the numbers are."""
    for name in ("version", "incarnation", "epoch", "round", "table", "clients"):
        book.header[name] = source.header[name]
    for name in ("changed", "steps", "ledger"):
        book.pieces[name] = source.pieces[name]
    book.clients[: len(source.clients)] = source.clients
    book.reread()


def parts_of(image: Image) -> Iterator[bytes | memoryview]:
    """The bytes of a snapshot's file but for its digest."""
    header = {
        "format": FORMAT, "shard": image.number, "shards": image.shards, "policy": image.policy,
        "pieces": [piece.to_json() for piece in image.pieces],
        "buffers": [len(of) for of in image.buffers], "book": image.book.size,
    }  # fmt: skip
    text = json.dumps(header, separators=(",", ":")).encode()
    yield _MAGIC + len(text).to_bytes(8, "little") + text
    yield bytes(-(len(_MAGIC) + 8 + len(text)) % _ALIGNED)
    for array in (*(one for of in image.buffers for one in of), image.book):
        yield array.data.cast("B") if array.size else b""
        yield bytes(-array.nbytes % _ALIGNED)


def write_image(path: Path, image: Image, halfway: Callable[[], None] = lambda: None) -> int:
    """Write a snapshot, durably and all or nothing; gives its bytes, and raises `OSError` where there is no room."""
    temporary = path.with_name(f".new-{path.name}")
    digest, size = xxhash.xxh3_128(), 0
    try:
        with temporary.open("wb", buffering=0) as file:
            for part in parts_of(image):
                digest.update(part)
                size += _write(file.fileno(), part)
            halfway()
            size += _write(file.fileno(), digest.digest())
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return size


def image_bytes(image: Image) -> bytes:
    """What `write_image` writes to a file."""
    content = b"".join(parts_of(image))
    return content + xxhash.xxh3_128_digest(content)


def read_image(path: Path) -> Image:
    """What a snapshot holds; raises `StoreError` where it is damaged or cut off."""
    return image_from(np.fromfile(path, np.uint8), path)


def image_from(data: NDArray[np.uint8], path: Path | str) -> Image:
    """What the bytes of a snapshot say; `path` is what an error calls them."""
    body = data[:-_DIGEST]
    if len(data) < _ALIGNED or body[: len(_MAGIC)].tobytes() != _MAGIC:
        raise StoreError(f"{path} is no snapshot of a shard, or only its beginning")
    if xxhash.xxh3_128_digest(body.data) != data[-_DIGEST:].tobytes():
        raise StoreError(f"{path} is damaged: its digest does not fit")
    place = len(_MAGIC) + 8
    length = int.from_bytes(body[len(_MAGIC) : place].tobytes(), "little")
    header = json.loads(body[place : place + length].tobytes())
    if header["format"] != FORMAT:
        raise StoreError(f"{path} has the format {header['format']}, but this program reads {FORMAT}")
    place += length
    pieces = tuple(Piece.from_json(piece) for piece in header["pieces"])

    def taken(size: int) -> NDArray[np.uint8]:
        nonlocal place
        place += -place % _ALIGNED
        place += size
        if not 0 <= size <= place <= body.size:
            raise StoreError(f"{path} says that it is longer than it is")
        return body[place - size : place]

    if max(header["buffers"], default=0) > ARRAYS:
        raise StoreError(f"{path} says that a piece of it has {max(header['buffers'])} arrays")

    buffers = tuple(
        tuple(taken(piece.bytes).view(piece.dtype) for _ in range(count))
        for piece, count in zip(pieces, header["buffers"], strict=True)
    )
    return Image(header["shard"], header["shards"], header["policy"], pieces, buffers, taken(header["book"]))


def digest_of(path: Path) -> str:
    """The digest at the end of a snapshot, which tells it from others."""
    with path.open("rb") as file:
        file.seek(-_DIGEST, os.SEEK_END)
        return file.read().hex()


def image_of(shard: Shard) -> Image:
    """The state of a shard now, copied."""
    with shard.lock:
        memory = shard.memory
        buffers = tuple(
            tuple(np.array(one) for one in memory.front(place)) for place in range(len(memory.pieces))
        )  # fmt: skip
        book = memory.book.buffer.copy()
        return Image(shard.number, shard.shards, policy_to_json(shard.policy), memory.pieces, buffers, book)


@final
@dataclass(frozen=True, slots=True)
class Found:
    """The newest sound snapshot of a folder, its number, which newer ones are damaged, and what is wrong with them."""

    image: Image | None
    number: int
    damages: tuple[str, ...]
    damaged: tuple[Path, ...] = ()

    def set_aside(self) -> None:
        """Have those that are damaged be none of the two that are kept; they stay, under another name."""
        for path in self.damaged:
            with suppress(OSError):
                path.rename(path.with_name(f"damaged-{path.name}"))


def newest(folder: Path) -> Found:
    """What there is to begin from; no image and number 0 where there is no sound snapshot."""
    damages, damaged = list[str](), list[Path]()
    for path in sorted(folder.glob(_GLOB), reverse=True):
        try:
            return Found(read_image(path), number_of(path), tuple(damages), tuple(damaged))
        except (StoreError, OSError, ValueError, KeyError) as error:
            damages.append(str(error) if isinstance(error, StoreError) else f"{path} cannot be read: {error}")
            damaged.append(path)
    return Found(None, 0, tuple(damages), tuple(damaged))


@final
class Snapshots:
    """Writes the snapshots of a shard into its folder; a `log` begins anew with each.

    Pushes wait while what has changed since the last one is copied, into memory that is kept for that; not while it
    is written. `probe` hears "inside snapshot" when all but the digest is written.
    """

    def __init__(
        self, folder: Path, shard: Shard, *, log: Log | None = None, probe: Callable[[str], None] = lambda moment: None
    ) -> None:
        self.folder = folder
        self._shard = shard
        self._log = log
        self._probe = probe
        self._writing = Lock()
        self._copies: list[Buffers] = []
        self._copied: list[int] = []  # the version of each copy; -1 for one that holds nothing yet

    def write(self) -> Path:
        """Write one now, and give its path; raises `OSError`, and keeps what there is, where there is no room."""
        statistics = self._shard.statistics
        with self._writing:
            began = time.perf_counter()
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                there = [*self.folder.glob(_GLOB), *self.folder.glob(f"log-{_NUMBER}")]
                number = 1 + max(map(number_of, there), default=0)
                for left in self.folder.glob(f".new-{_GLOB}"):  # by a process that was killed
                    left.unlink()
                image = self._taken(number)
                path = self.folder / f"snapshot-{number:09d}"
                size = write_image(path, image, lambda: self._probe("inside snapshot"))
            except OSError:
                statistics.snapshots_failed += 1
                raise
            self._drop_old()
            statistics.snapshots += 1
            statistics.snapshot_seconds = time.perf_counter() - began
            statistics.snapshot_bytes = size
            statistics.snapshot_timestamp = time.time()
            return path

    def _taken(self, number: int) -> Image:
        """The state now; from here on a log writes to a segment of this number."""
        shard = self._shard
        memory = shard.memory
        self._make_room(memory.pieces)
        with shard.lock:
            while len(self._copies) < len(memory.pieces):  # somebody has just created more
                self._make_room(memory.pieces)
            if self._log is not None:
                self._log.rotate(number)
            changed = memory.book.pieces["changed"].tolist()
            for place, version in enumerate(changed):
                if self._copied[place] != version:
                    for copy, one in zip(self._copies[place], memory.front(place), strict=True):
                        np.copyto(copy, one)
            self._copied = changed
            policy = policy_to_json(shard.policy)
            book = memory.book.buffer.copy()
            return Image(shard.number, shard.shards, policy, memory.pieces, tuple(self._copies), book)

    def _make_room(self, pieces: Sequence[Piece]) -> None:
        """Have memory for copies that was written to before, for the first touch takes ten times as long as a copy."""
        for piece in pieces[len(self._copies) :]:
            count = 1 + len(self._shard.policy.group(piece.name).optimizer.slots)
            self._copies.append(tuple(np.full(piece.size, 0, piece.dtype) for _ in range(count)))
            self._copied.append(-1)

    def _drop_old(self) -> None:
        numbers = sorted(number_of(path) for path in self.folder.glob(_GLOB))
        for number in numbers[:-KEPT]:
            (self.folder / f"snapshot-{number:09d}").unlink(missing_ok=True)
        if self._log is not None and len(numbers) >= KEPT:
            self._log.drop_before(numbers[-KEPT])


def number_of(path: Path) -> int:
    """The number at the end of the name of a snapshot, or of a segment of a log."""
    return int(path.name.rpartition("-")[2])


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, part: bytes | memoryview) -> int:
    """Write all of it: what a full disk takes of it is followed by the error."""
    view, done = memoryview(part), 0
    while done < len(view):
        done += os.write(descriptor, view[done:])
    return done
