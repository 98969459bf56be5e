"""Wire: the messages between a shard's process and its clients on the same machine, as bytes on a Unix socket.

A message is a header of 32 bytes and a body. The header has a checksum of its own: where it does not fit nothing can be
said of what follows, and the connection is closed; where only the body's does not fit, the answer is `corrupted`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeAlias, final

from parameter_server.link import Answer, Push, Welcome
from parameter_server.messages.packing import Packing, checksum, type_name
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy_json import policy_from_json, policy_to_json
from parameter_server.store import FencedError, PushId, StoreError

Json: TypeAlias = dict[str, Any]

LONGEST: Final = 2**23  # bytes of a body
INLINE: Final = 2**16  # bytes of numbers that are sent in the message itself
DTYPES: Final = ("float32", "float64", "float16", "int64", "int32")  # that a shard may be shown, to take or refuse

_HEADER: Final = struct.Struct("<4sHHIIQQ")  # magic, kind, shard, request, length and checksum of body; checksum
_MAGIC: Final = b"cwp1"
HEADER: Final = _HEADER.size
_PUSHES: Final = struct.Struct("<IIQd")  # how many; where the numbers are; serial number; seconds to wait
_PUSH: Final = struct.Struct("<IIIqqqqdQQ")  # shard, lengths of client and parts, then as in Heading; pulls
_ANSWER: Final = struct.Struct("<HHIQ")  # outcome, unused, length of the reason, version
_OUTCOMES: Final = tuple(Outcome)


@unique
class Kind(IntEnum):
    """What a message asks, or answers."""

    HELLO = 1
    BEAT = 2
    LEAVE = 3
    CREATE = 4
    PUSHES = 5
    PULL = 6
    ARENA = 7
    SLOT = 8
    SNAPSHOT = 9
    STATISTICS = 10
    DRIVER = 11  # who speaks here is the driver of an epoch
    SAID = 32  # JSON
    ANSWERS = 33
    WHOLE = 34  # a push by the ring cannot be taken: send it whole
    REFUSED = 35  # JSON: an error


@unique
class Where(IntEnum):
    """Where the numbers of a message are."""

    HERE = 0  # at its end
    SLOT = 1
    RING = 2  # on their way, in the slot's ring


@final
@dataclass(frozen=True, slots=True)
class Header:
    """`shard` is whom a request is for, `request` its number, which the reply repeats; `length` is in bytes."""

    kind: Kind
    shard: int
    request: int
    length: int
    checksum: int


@final
@dataclass(frozen=True, slots=True)
class PartKind:
    """What a part of a push is, but for its numbers; `rows` is how many there are, -1: the part is dense."""

    key: str
    dtype: str
    count: int
    rows: int


@final
@dataclass(frozen=True, slots=True)
class Announced:
    """A push whose numbers are elsewhere; `pulls` and `pulled` (bytes) its client has taken without asking."""

    shard: int
    id: PushId
    base: int
    table: int
    scale: float
    parts: tuple[PartKind, ...]
    pulls: int = 0
    pulled: int = 0


@final
@dataclass(frozen=True, slots=True)
class Pushes:
    """The body of a message of pushes; `sums` are the checksums of the chunks, and `end` is where the numbers begin."""

    where: Where
    serial: int
    seconds: float
    pushes: tuple[Announced, ...]
    packing: Packing
    sums: tuple[int, ...]
    end: int


def message(kind: Kind, shard: int, request: int, *body: bytes | bytearray) -> bytes:
    """A header and the body that it tells of."""
    whole = b"".join(body)
    head = _HEADER.pack(_MAGIC, kind, shard, request, len(whole), checksum(whole), 0)[:-8]
    return head + struct.pack("<Q", checksum(head)) + whole


def said(shard: int, request: int, data: Json) -> bytes:
    """A reply that is JSON."""
    return message(Kind.SAID, shard, request, json.dumps(data).encode())


def header(data: bytes | memoryview) -> Header:
    """Read a header; raises `StoreError` where it is none, or announces too much."""
    magic, kind, shard, request, length, body, own = _HEADER.unpack(data)
    if magic != _MAGIC or own != checksum(data[:-8]):
        raise StoreError("this is not how clients of this version speak", Outcome.CORRUPTED)
    if length > LONGEST:
        raise StoreError(f"a message of {length:,} bytes: {LONGEST:,} are the most", Outcome.TOO_LARGE)
    return Header(_kind(kind), shard, request, length, body)


def json_of(body: bytes) -> Json:
    """Read a body that is JSON; raises `StoreError`."""
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise StoreError("this message should be JSON", Outcome.CORRUPTED)
    return data


def announced(shard: int, push: Push, pulls: int = 0, pulled: int = 0) -> Announced:
    """What a push is, but for its numbers."""
    parts = tuple(
        PartKind(part.key, type_name(part.values.dtype), part.values.size, -1 if part.rows is None else len(part.rows))
        for part in push.parts
    )
    return Announced(shard, push.id, push.base, push.table, push.scale, parts, pulls, pulled)


def packing_of(pushes: Sequence[Announced]) -> Packing:
    """How the rows and values of pushes lie one after the other."""
    return _packing(tuple(push.parts for push in pushes))


def pushes_body(where: Where, serial: int, seconds: float, pushes: Sequence[Announced], sums: Sequence[int]) -> bytes:
    """The body of pushes; numbers that are sent in the message are added behind it."""
    parts = [_PUSHES.pack(len(pushes), where, serial, seconds)]
    for push in pushes:
        client, kinds = push.id.client.encode(), _encoded(push.parts)
        parts.append(
            _PUSH.pack(
                push.shard, len(client), len(kinds), push.id.number, push.id.attempt, push.base, push.table, push.scale,
                push.pulls, push.pulled,
            )
        )  # fmt: skip
        parts += (client, kinds)
    parts.append(struct.pack(f"<{len(sums)}Q", *sums))
    body = b"".join(parts)
    return body.ljust(-(-len(body) // 16) * 16, b"\0")  # so that numbers begin where a processor likes them to


def read_pushes(body: bytes) -> Pushes:
    """Read the body of pushes; raises `StoreError` where it is none."""
    try:
        return _read_pushes(body)
    except (struct.error, ValueError, TypeError, KeyError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"these pushes cannot be read: {error}", Outcome.TRUNCATED) from None


def answers_body(answers: Sequence[Answer]) -> bytes:
    """What became of pushes, in their order."""
    reasons = [answer.reason.encode() for answer in answers]
    return b"".join(
        _ANSWER.pack(_OUTCOMES.index(answer.outcome), 0, len(reason), answer.version) + reason
        for answer, reason in zip(answers, reasons, strict=True)
    )


def read_answers(body: bytes) -> list[Answer]:
    answers, at = [], 0
    while at < len(body):
        outcome, _, length, version = _ANSWER.unpack_from(body, at)
        at += _ANSWER.size + length
        answers.append(Answer(_OUTCOMES[outcome], version, body[at - length : at].decode()))
    return answers


def failure(shard: int, request: int, error: StoreError) -> bytes:
    """A reply that is an error."""
    data = {"reason": str(error), "outcome": error.outcome, "fenced": isinstance(error, FencedError)}
    return message(Kind.REFUSED, shard, request, json.dumps(data).encode())


def raise_failure(data: Json) -> NoReturn:
    """Raise the error that a reply is."""
    outcome = None if data["outcome"] is None else Outcome(data["outcome"])
    raise (FencedError if data["fenced"] else StoreError)(data["reason"], outcome)


def welcome_json(welcome: Welcome) -> Json:
    return {
        "shard": welcome.shard,
        "shards": welcome.shards,
        "policy": policy_to_json(welcome.policy),
        "table": welcome.table,
        "pieces": [piece.to_json() for piece in welcome.pieces],
        "version": welcome.version,
        "number": welcome.number,
    }


def welcome_of(data: Json) -> Welcome:
    pieces = tuple(Piece.from_json(piece) for piece in data["pieces"])
    return Welcome(**{**data, "policy": policy_from_json(data["policy"]), "pieces": pieces})


def _read_pushes(body: bytes) -> Pushes:
    count, where, serial, seconds = _PUSHES.unpack_from(body)
    seconds = min(seconds, 3600.0) if seconds > 0 else 0.0  # not a number is no time either
    at, pushes = _PUSHES.size, []
    for _ in range(count):
        shard, name, kinds, number, attempt, base, table, scale, pulls, pulled = _PUSH.unpack_from(body, at)
        at += _PUSH.size + name + kinds
        if at > len(body):
            raise StoreError("a message of pushes ends before its end", Outcome.TRUNCATED)
        client = body[at - kinds - name : at - kinds].decode()
        parts = _parts(body[at - kinds : at])
        pushes.append(Announced(shard, PushId(client, number, attempt), base, table, scale, parts, pulls, pulled))
    packing = packing_of(pushes)
    chunks = packing.chunks if where == Where.SLOT else 0
    sums = struct.unpack_from(f"<{chunks}Q", body, at)
    end = -(-(at + 8 * chunks) // 16) * 16
    if where == Where.HERE and len(body) != end + packing.size:
        raise StoreError("the numbers of a push are not all there", Outcome.TRUNCATED)
    return Pushes(Where(where), serial, seconds, tuple(pushes), packing, sums, end)


def _kind(number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError:
        raise StoreError(f"there are no messages of kind {number}", Outcome.CORRUPTED) from None


@lru_cache(256)
def _packing(parts: tuple[tuple[PartKind, ...], ...]) -> Packing:
    kinds = []
    for part in (one for push in parts for one in push):
        if part.rows >= 0:
            kinds.append(("int64", part.rows))
        kinds.append((part.dtype, part.count))
    return Packing.of(kinds)


@lru_cache(256)
def _encoded(parts: tuple[PartKind, ...]) -> bytes:
    return json.dumps([[part.key, part.dtype, part.count, part.rows] for part in parts]).encode()


def _parts(data: bytes) -> tuple[PartKind, ...]:
    return _remembered_parts(data) if len(data) <= INLINE else _parsed_parts(data)


def _parsed_parts(data: bytes) -> tuple[PartKind, ...]:
    parts = []
    for key, dtype, count, rows in json.loads(data):
        if dtype not in DTYPES:
            raise StoreError(f"gradients are float32 or float64, but {key} is {dtype!r}", Outcome.WRONG_DTYPE)
        if not (isinstance(key, str) and type(count) is type(rows) is int and 0 <= count < 2**48 and rows < 2**48):
            raise StoreError("a part of a push has no key, or no size", Outcome.CORRUPTED)
        parts.append(PartKind(key, dtype, count, max(rows, -1)))
    return tuple(parts)


_remembered_parts = lru_cache(256)(_parsed_parts)
