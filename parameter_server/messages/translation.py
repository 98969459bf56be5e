"""What is said between a shard and its clients, as messages of protobuf and frames of numbers, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, final

import numpy as np
from google.protobuf.message import DecodeError

from parameter_server import parameter_server_pb2 as pb
from parameter_server.link import Part, Push, Welcome
from parameter_server.messages.codec import Frame, Kind, Receiver, Run, cut, frames, heading, itemsize, messages
from parameter_server.messages.compression import Sparse, narrowed, widened
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy_json import policy_from_json, policy_to_json
from parameter_server.statistics import Statistics
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.store import Array

    Values = tuple[pb.Part, NDArray[Any] | None, NDArray[Any]]  # the places of the values, and the values

Heading = TypeVar("Heading", pb.Heading, pb.Creation, pb.Pulled)

ENCODINGS: Final = {"float32": "float32", "float64": "float64", "float16": "float32", "bfloat16": "float32"}
_PLACES: Final = {pb.Part.ROWS: "int64", pb.Part.ELEMENTS: "uint32"}


def piece_message(piece: Piece) -> pb.Piece:
    return pb.Piece(**piece.to_json())


def piece_from(message: pb.Piece) -> Piece:
    return Piece(
        message.name, tuple(message.shape), message.dtype, int(message.start), int(message.stop), message.mark
    )  # fmt: skip


def welcome_message(welcome: Welcome) -> pb.Welcome:
    return pb.Welcome(
        shard=welcome.shard,
        shards=welcome.shards,
        policy=json.dumps(policy_to_json(welcome.policy)),
        table=welcome.table,
        pieces=[piece_message(piece) for piece in welcome.pieces],
        version=welcome.version,
        number=welcome.number,
    )


def welcome_from(message: pb.Welcome) -> Welcome:
    return Welcome(
        shard=message.shard,
        shards=message.shards,
        policy=policy_from_json(json.loads(message.policy)),
        table=message.table,
        pieces=tuple(piece_from(piece) for piece in message.pieces),
        version=message.version,
        number=message.number,
    )


def statistics_text(statistics: Statistics) -> str:
    return json.dumps(statistics.to_json())


def statistics_from(text: str) -> Statistics:
    return Statistics.from_json(json.loads(text))


def push_messages(
    shard: int, push: Push, sparse: Mapping[str, Sparse] | None = None, encoding: str | None = None
) -> Iterator[bytes]:
    """A push as a stream; `sparse` stands for some of its dense parts, `encoding` for the type of float32 ones.

    Where there are sparse parts, the scale of the push is in their values.
    """
    parts = [_encoded(part, (sparse or {}).get(part.key), encoding) for part in push.parts]
    message = pb.Heading(
        shard=shard,
        client=push.id.client,
        number=push.id.number,
        attempt=push.id.attempt,
        base=push.base,
        table=push.table,
        scale=push.scale,
        parts=[part for part, _, _ in parts],
    )
    return _stream(message, parts)


def create_messages(shard: int, pieces: Sequence[Piece], values: Sequence[Array]) -> Iterator[bytes]:
    """Pieces and their first numbers as a stream."""
    parts = [_dense(piece.key, array) for piece, array in zip(pieces, values, strict=True)]
    listed = [piece_message(piece) for piece in pieces]
    return _stream(pb.Creation(shard=shard, pieces=listed, parts=[part for part, _, _ in parts]), parts)


def pulled_messages(version: int, table: int, parts: Mapping[str, Array]) -> Iterator[bytes]:
    """Pulled pieces as a stream, which copies them as it goes."""
    encoded = [_dense(key, array) for key, array in parts.items()]
    return _stream(pb.Pulled(version=version, table=table, parts=[part for part, _, _ in encoded]), encoded)


def _dense(key: str, array: Array) -> Values:
    if array.dtype.name not in ENCODINGS:
        raise StoreError(f"{key} is {array.dtype}, which does not travel: convert it", Outcome.WRONG_DTYPE)
    return pb.Part(key=key, encoding=array.dtype.name, values=array.size), None, array.reshape(-1)


def _encoded(part: Part, sparse: Sparse | None, encoding: str | None) -> Values:
    form, values = pb.Part.DENSE, part.values.reshape(-1)
    places: NDArray[Any] | None = part.rows
    if places is not None:
        form = pb.Part.ROWS
    elif sparse is not None:
        form, places, values = pb.Part.ELEMENTS, sparse.places, sparse.values
    message, _, values = _dense(part.key, values)
    message.form, message.size = form, 0 if sparse is None else sparse.size
    message.places = 0 if places is None else len(places)
    if encoding is not None and values.dtype == np.float32:
        narrow = narrowed(values, encoding)
        if narrow is not None:
            message.encoding, values = encoding, narrow
    return message, places, values


def _stream(message: pb.Heading | pb.Creation | pb.Pulled, parts: Sequence[Values]) -> Iterator[bytes]:
    def each() -> Iterator[Frame]:
        yield heading(message.SerializeToString())
        for number, (part, places, values) in enumerate(parts):
            arrays = (values,) if places is None else (places, values)
            for run, array in zip(_announced(number, part), arrays, strict=True):
                yield from cut(run, array)

    return messages(each())


def _announced(number: int, part: pb.Part) -> list[Run]:
    """The runs of a part; raises `StoreError` where it cannot be."""
    if part.encoding not in ENCODINGS:
        raise StoreError(
            f"numbers of the type {part.encoding[:32]!r} do not travel: {', '.join(ENCODINGS)} do", Outcome.WRONG_DTYPE
        )
    values = Run(Kind.VALUES, number, part.encoding, part.values)
    if part.form == pb.Part.DENSE:
        return [values]
    if part.form not in _PLACES or part.places > part.values:
        raise StoreError(
            f"{part.places} places of a part cannot have {part.values} values: a place has at least one",
            Outcome.WRONG_SHAPE,
        )
    if part.form == pb.Part.ELEMENTS and (part.places != part.values or part.size < part.values):
        raise StoreError(
            f"{part.places} of {part.size} elements of a part cannot have {part.values} values", Outcome.WRONG_SHAPE
        )
    return [Run(Kind.PLACES, number, _PLACES[part.form], part.places), values]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Came:
    """The numbers of a part: all that there are, in the arrays in which they came."""

    key: str
    chunks: Sequence[Array]
    rows: NDArray[np.int64] | None
    size: int
    dtype: str

    def whole(self, into: Array | None = None) -> Array:
        """As one array, of this memory if there is any given, without a copy where they came as one."""
        if into is None and len(self.chunks) == 1:
            return self.chunks[0]
        values: Array = np.empty(self.size, self.dtype) if into is None else into
        start = 0
        for chunk in self.chunks:
            values[start : start + len(chunk)] = chunk
            start += len(chunk)
        return values

    def part(self) -> Part:
        return Part(self.key, self.whole(), self.rows)


@final
class Incoming(Generic[Heading]):
    """A stream that begins with a heading; `most` bytes of numbers may come of it, and of zeros between them.

    Raises `StoreError` with an outcome for whatever is not a whole stream.
    """

    def __init__(self, kind: type[Heading], most: Callable[[Heading], int]) -> None:
        self._kind: type[Heading] = kind
        self._most: Callable[[Heading], int] = most
        self._heading: Heading | None = None
        self._receiver = Receiver((), 0)

    @property
    def heading(self) -> Heading | None:
        """What came first; None as long as it has not."""
        return self._heading

    def feed(self, message: bytes) -> list[Frame]:
        """Take the next message, and give the frames of numbers in it."""
        taken = []
        for frame in frames(message):
            if self._heading is None:
                self._begin(frame)
            else:
                self._receiver.take(frame)
                taken.append(frame)
        return taken

    def _begin(self, frame: Frame) -> None:
        if frame.kind is not Kind.HEADING or frame.dtype != "bytes":
            raise StoreError("a stream begins with numbers, but with a heading it must", Outcome.CORRUPTED)
        try:
            message = self._kind.FromString(frame.numbers.tobytes())
        except DecodeError as error:
            raise StoreError(f"a heading cannot be read: {error}", Outcome.CORRUPTED) from None
        runs = [run for number, part in enumerate(message.parts) for run in _announced(number, part)]
        most, total = self._most(message), volume(message)
        if total > most:
            raise StoreError(f"{total} bytes are announced, and {most} are the most", Outcome.TOO_LARGE)
        self._receiver = Receiver(runs, 3 * most)  # as each value may have a place of 8 bytes
        self._heading = message

    def finish(self) -> tuple[Heading, list[Came]]:
        """What came, when all has."""
        if self._heading is None:
            raise StoreError("a stream ends before its heading: send it again", Outcome.TRUNCATED)
        chunks = iter(self._receiver.finish())
        return self._heading, [_came(part, chunks) for part in self._heading.parts]


def volume(message: pb.Heading | pb.Creation | pb.Pulled) -> int:
    """Bytes of the numbers that a heading announces, when they are read."""
    return sum(
        int(part.size if part.form == pb.Part.ELEMENTS else part.values) * itemsize(ENCODINGS[part.encoding])
        for part in message.parts
    )


def _came(part: pb.Part, chunks: Iterator[list[NDArray[Any]]]) -> Came:
    dtype = ENCODINGS[part.encoding]
    places = None if part.form == pb.Part.DENSE else _joined(next(chunks), _PLACES[part.form])
    values = [widened(chunk, part.encoding) for chunk in next(chunks)]
    if part.form != pb.Part.ELEMENTS or places is None:
        return Came(part.key, values, places, int(part.values), dtype)
    if places.size and ((np.diff(places.astype(np.int64)) <= 0).any() or places[-1] >= part.size):
        raise StoreError(f"the elements of {part.key} must ascend, to below {part.size}", Outcome.WRONG_SHAPE)
    dense: Array = np.zeros(part.size, dtype)
    dense[places] = _joined(values, dtype)
    return Came(part.key, (dense,), None, int(part.size), dtype)


def _joined(arrays: Sequence[NDArray[Any]], dtype: str) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays])
