"""Frames: how numbers travel as raw bytes; a fixed header, a checksum over header and numbers, then the numbers.

A message is one frame or several on end, and at most `MESSAGE` bytes. The first frame of a stream holds a heading,
which announces `Run`s of numbers; they come in that order, from their first number to their last.

    offset  bytes
    0       4      magic, b"CwPS"
    4       2      version of the format
    6       1      what the numbers are: a heading, places, or values
    7       1      their type, by its place in `DTYPES`
    8       4      the part of the heading that they belong to
    12      4      0
    16      8      the first number's offset in its run
    24      8      how many numbers
    32      8      how many bytes, padded with zeros to a multiple of 8
    40      8      xxh3 of the bytes, seeded by the xxh3 of the 40 bytes above

All integers are little-endian. 48 bytes keep numbers aligned in a received `bytes` object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import xxhash

from parameter_server.outcome import Outcome
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC: Final = b"CwPS"
VERSION: Final = 1
HEADER: Final = Struct("<4sHBBIIQQQQ")
PAYLOAD: Final = 2 * 2**20  # measured: gRPC streams are faster so than with 64 kB (4 x), 1 MB, or one message
MESSAGE: Final = PAYLOAD + HEADER.size
# A number's type has its place here as its code; new ones go to the end. bfloat16 travels as the integers of its bits.
DTYPES: Final = ("bytes", "float32", "float64", "float16", "bfloat16", "int64", "uint32")
_NUMPY: Final = {
    name: np.dtype({"bytes": "uint8", "bfloat16": "uint16"}.get(name, name)).newbyteorder("<") for name in DTYPES
}


@final
class Kind(IntEnum):
    """What the numbers of a frame are."""

    HEADING = 0
    PLACES = 1
    VALUES = 2


@final
@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Some numbers of a run, from its `offset`-th; `numbers` may be a view of the message they came in."""

    kind: Kind
    part: int
    dtype: str
    offset: int
    numbers: NDArray[Any]


@final
@dataclass(frozen=True, slots=True)
class Run:
    """Numbers that a heading announces."""

    kind: Kind
    part: int
    dtype: str
    count: int

    @property
    def bytes(self) -> int:
        return self.count * itemsize(self.dtype)


def itemsize(dtype: str) -> int:
    """Bytes of a number on the wire."""
    return _NUMPY[dtype].itemsize


def heading(data: bytes) -> Frame:
    """The frame that goes first; raises `StoreError` when there are so many parts that no message can hold it."""
    if len(data) > PAYLOAD:
        raise StoreError(
            f"a heading has {len(data)} bytes, and {PAYLOAD} may travel at once: send fewer tensors together",
            Outcome.TOO_LARGE,
        )
    return Frame(Kind.HEADING, 0, "bytes", 0, np.frombuffer(data, np.uint8))


def cut(run: Run, numbers: NDArray[Any]) -> Iterator[Frame]:
    """The frames of a run; `numbers` are flat."""
    step = PAYLOAD // itemsize(run.dtype)
    for start in range(0, run.count, step):
        yield Frame(run.kind, run.part, run.dtype, start, numbers[start : start + step])


def messages(frames: Iterable[Frame]) -> Iterator[bytes]:
    """Frames on end in messages, each as full as it gets."""
    buffers: list[bytes | memoryview] = []
    size = 0
    for frame in frames:
        numbers = np.ascontiguousarray(frame.numbers, _NUMPY[frame.dtype])
        payload = numbers.view(np.uint8).data
        padding = -len(payload) % 8
        if buffers and size + HEADER.size + len(payload) + padding > MESSAGE:
            yield b"".join(buffers)
            buffers, size = [], 0
        buffers += (_header(frame, len(numbers), payload), payload, bytes(padding))
        size += HEADER.size + len(payload) + padding
    if buffers:
        yield b"".join(buffers)


def _header(frame: Frame, count: int, payload: memoryview) -> bytes:
    fields = (MAGIC, VERSION, frame.kind, DTYPES.index(frame.dtype), frame.part, 0, frame.offset, count, len(payload))
    seal = _checksum(HEADER.pack(*fields, 0)[:-8], payload)
    return HEADER.pack(*fields, seal)


def _checksum(header: bytes | memoryview, payload: memoryview) -> int:
    return xxhash.xxh3_64_intdigest(payload, seed=xxhash.xxh3_64_intdigest(header))


def frames(message: bytes) -> Iterator[Frame]:
    """The frames of a message, as views of it; raises `StoreError`, with an outcome, for whatever is not whole."""
    if len(message) > MESSAGE:
        raise StoreError(f"a message has {len(message)} bytes, and {MESSAGE} are the most", Outcome.TOO_LARGE)
    view, at = memoryview(message), 0
    while at < len(view):
        frame, length = _frame(view[at:])
        yield frame
        at += length


def _frame(view: memoryview) -> tuple[Frame, int]:
    if len(view) < HEADER.size:
        raise StoreError(f"a frame ends after {len(view)} bytes, within its header", Outcome.TRUNCATED)
    magic, version, kind, dtype, part, unused, offset, count, length, checksum = HEADER.unpack_from(view)
    if magic != MAGIC:
        raise StoreError(f"a frame begins with {magic!r}, but with {MAGIC!r} it must", Outcome.CORRUPTED)
    if version > VERSION:
        raise StoreError(
            f"a frame is of version {version} of the format, and this side reads up to {VERSION}: update it",
            Outcome.FROM_THE_FUTURE,
        )
    end = HEADER.size + length + -length % 8
    if end > len(view):
        raise StoreError(f"a frame of {end} bytes ends after {len(view)}", Outcome.TRUNCATED)
    payload = view[HEADER.size : HEADER.size + length]
    if _checksum(view[: HEADER.size - 8], payload) != checksum or any(view[HEADER.size + length : end]):
        raise StoreError("the checksum of a frame does not fit: send it again", Outcome.CORRUPTED)
    if dtype >= len(DTYPES):
        raise StoreError(f"a frame has numbers of type {dtype}, and {len(DTYPES) - 1} is the last", Outcome.WRONG_DTYPE)
    name = DTYPES[dtype]
    if version < 1 or kind > max(Kind) or unused or count * itemsize(name) != length:
        raise StoreError("a frame contradicts itself: send it again", Outcome.CORRUPTED)
    return Frame(Kind(kind), part, name, offset, np.frombuffer(payload, _NUMPY[name])), end


@final
class Receiver:
    """Takes the frames of what a heading announced, in order, whole, once.

    `most` bytes may be announced; nothing is allocated for what was only announced. Raises `StoreError` with an
    outcome: too much, a gap, an overlap, another type.
    """

    def __init__(self, runs: Sequence[Run], most: int) -> None:
        announced = sum(run.bytes for run in runs)
        if announced > most:
            raise StoreError(f"{announced} bytes of numbers are announced, and {most} are the most", Outcome.TOO_LARGE)
        self._runs = runs
        self._run = 0
        self._offset = 0
        self._chunks: list[list[NDArray[Any]]] = [[] for _ in runs]
        self._skip()

    def take(self, frame: Frame) -> None:
        """Keep the numbers of the next frame."""
        if self._run == len(self._runs):
            raise StoreError("there are more numbers than were announced", Outcome.TOO_LARGE)
        run = self._runs[self._run]
        if frame.dtype != run.dtype:
            raise StoreError(f"there are numbers of type {frame.dtype}, but {run.dtype} was said", Outcome.WRONG_DTYPE)
        if (frame.kind, frame.part, frame.offset) != (run.kind, run.part, self._offset):
            raise StoreError(
                f"there are numbers {frame.offset} of part {frame.part} ({frame.kind.name.lower()}), but those from "
                f"{self._offset} of part {run.part} ({run.kind.name.lower()}) are next",
                Outcome.CORRUPTED,
            )
        self._offset += len(frame.numbers)
        if not len(frame.numbers) or self._offset > run.count:
            raise StoreError(f"part {run.part} has {run.count} numbers, and {self._offset} came", Outcome.TOO_LARGE)
        self._chunks[self._run].append(frame.numbers)
        self._skip()

    def _skip(self) -> None:
        while self._run < len(self._runs) and self._offset == self._runs[self._run].count:
            self._run, self._offset = self._run + 1, 0

    def finish(self) -> list[list[NDArray[Any]]]:
        """The numbers of every run, in as many arrays as they came in."""
        if self._run < len(self._runs):
            run = self._runs[self._run]
            raise StoreError(
                f"the numbers end with {self._offset} of {run.count} of part {run.part}: send them again",
                Outcome.TRUNCATED,
            )
        return self._chunks
