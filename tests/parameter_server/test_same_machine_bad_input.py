"""What is wrong with a message on the socket is told, counted and changes nothing; the shard goes on."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parameter_server.link import Part, Push
from parameter_server.links.connection import Connections
from parameter_server.links.same_machine import SameMachineLink
from parameter_server.listeners.same_machine import SameMachineListener
from parameter_server.messages.packing import CHUNK
from parameter_server.messages.wire import (
    HEADER,
    LONGEST,
    Kind,
    Where,
    announced,
    header,
    json_of,
    message,
    packing_of,
    pushes_body,
    read_answers,
    read_pushes,
)
from parameter_server.optimizers import SGD
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Group, Policy
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard
from parameter_server.shared_memory.slots import CELLS, Slot
from parameter_server.store import PushId, StoreError

SIZE = 400_000
PIECE = Piece("w", (SIZE,), "float32", 0, SIZE)
SMALL = Piece("s", (4,), "float32", 0, 4)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shard, Path]]:
    """A shard behind a socket, for all tests of this file."""
    path = tmp_path_factory.mktemp("bad") / "socket"
    one = Shard(0, 1, HeapMemory(), Policy((Group(SGD(0.5)),), lease=600), clock=time.monotonic)
    one.create([PIECE, SMALL], [np.zeros(SIZE, np.float32), np.zeros(4, np.float32)])
    one.hello("me", 0)
    listener = SameMachineListener([one], path, lambda number: "")
    yield one, path
    listener.close()


@pytest.fixture
def unchanged(shard: tuple[Shard, Path]) -> Iterator[tuple[Shard, Path]]:
    """The same; when the test is over nothing has been applied, and the shard still serves."""
    path = shard[1]
    yield shard
    link = SameMachineLink(Connections(path, 10), 0)
    assert link.hello("", 0).version == 0
    parts = link.pull([PIECE.key, SMALL.key]).parts.values()
    assert not any(part.any() for part in parts)
    link.close()


class Raw:
    """A connection on which anything can be said."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, data: bytes, descriptor: int | None = None) -> tuple[Kind, bytes] | None:
        """The reply; None when the connection is closed without one."""
        socket.send_fds(self.socket, [data], [] if descriptor is None else [descriptor])
        return self.hear()

    def hear(self) -> tuple[Kind, bytes] | None:
        data = self.socket.recv(HEADER, socket.MSG_WAITALL)
        if not data:
            return None
        head = header(data)
        return head.kind, self.socket.recv(head.length, socket.MSG_WAITALL)

    def refused(self, data: bytes, descriptor: int | None = None) -> dict[str, object]:
        reply = self.say(data, descriptor)
        assert reply is not None
        assert reply[0] is Kind.REFUSED
        return json_of(reply[1])

    def closed(self) -> bool:
        return self.socket.recv(1) == b""


def hello(request: int = 1) -> bytes:
    return message(Kind.HELLO, 0, request, b'{"client": "", "attempt": 0}')


def small_push(number: int = 0) -> bytes:
    push = Push(PushId("me", number), 0, 1, [Part(SMALL.key, np.ones(4, np.float32))])
    body = pushes_body(Where.HERE, 0, 1.0, [announced(0, push)], ())
    return message(Kind.PUSHES, 0, 1, body, np.ones(4, np.float32).tobytes().ljust(64, b"\0"))


def large_push(where: Where, sums: list[int], serial: int = 0, seconds: float = 1.0) -> bytes:
    push = Push(PushId("me", 0), 0, 1, [Part(PIECE.key, np.ones(SIZE, np.float32))])
    return message(Kind.PUSHES, 0, 1, pushes_body(where, serial, seconds, [announced(0, push)], sums))


def reheaded(data: bytes, kind: int, length: int, magic: bytes = b"cwp1") -> bytes:
    """The message with another header, whose checksum fits."""
    head = struct.pack("<4sHHIIQ", magic, kind, 0, 1, length, xxhash.xxh3_64_intdigest(data[HEADER:]))
    return head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head)) + data[HEADER:]


def test_a_whole_message_is_understood(unchanged: tuple[Shard, Path]) -> None:
    with Raw(unchanged[1]) as raw:
        reply = raw.say(hello())
        assert reply is not None
        assert reply[0] is Kind.SAID


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", Outcome.CORRUPTED),
        (b"\0" * HEADER, Outcome.CORRUPTED),
        (reheaded(hello(), Kind.HELLO, 28, b"cwp9"), Outcome.CORRUPTED),
        (reheaded(hello(), 77, 28), Outcome.CORRUPTED),
        (reheaded(hello(), Kind.HELLO, LONGEST + 1), Outcome.TOO_LARGE),
    ],
)
def test_who_does_not_speak_the_language_is_cut_off(
    unchanged: tuple[Shard, Path], data: bytes, outcome: Outcome
) -> None:
    shard, path = unchanged
    before = shard.statistics.pushes[outcome]
    with Raw(path) as raw:
        assert raw.refused(data)["outcome"] == outcome
        assert raw.closed()
    assert shard.statistics.pushes[outcome] == before + 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_of_a_push_is_never_applied(unchanged: tuple[Shard, Path], data: st.DataObject) -> None:
    shard, path = unchanged
    whole = bytearray(small_push())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    before = sum(shard.statistics.pushes.values())
    with Raw(path) as raw:
        assert raw.refused(bytes(whole))["outcome"] == Outcome.CORRUPTED
    assert sum(shard.statistics.pushes.values()) == before + 1
    assert shard.statistics.pushes[Outcome.APPLIED] == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from([kind for kind in Kind if kind is not Kind.SNAPSHOT]))
def test_nonsense_in_a_sound_message_is_refused(unchanged: tuple[Shard, Path], body: bytes, kind: Kind) -> None:
    with Raw(unchanged[1]) as raw:
        reply = raw.say(message(kind, 0, 1, body))
        assert reply is not None
        assert reply[0] is Kind.REFUSED or kind in (Kind.ARENA, Kind.STATISTICS)
        assert raw.say(hello(2)) is not None


@pytest.mark.parametrize("cut", [10, HEADER, HEADER + 20])
def test_a_truncated_message_harms_nobody(unchanged: tuple[Shard, Path], cut: int) -> None:
    with Raw(unchanged[1]) as raw, Raw(unchanged[1]) as other:
        raw.socket.sendall(small_push()[:cut])
        assert other.say(hello()) is not None


def test_a_message_that_comes_byte_by_byte_is_understood(unchanged: tuple[Shard, Path]) -> None:
    with Raw(unchanged[1]) as raw:
        for byte in hello()[:-1]:
            raw.socket.sendall(bytes([byte]))
        reply = raw.say(hello()[-1:])
        assert reply is not None
        assert reply[0] is Kind.SAID


def test_several_messages_at_once_are_answered_in_order(unchanged: tuple[Shard, Path]) -> None:
    with Raw(unchanged[1]) as raw:
        raw.socket.sendall(hello(1) + hello(2) + hello(3)[:7])
        raw.socket.sendall(hello(3)[7:])
        assert [raw.hear() is not None for _ in range(3)] == [True] * 3


def test_an_unknown_shard_is_not_here(unchanged: tuple[Shard, Path]) -> None:
    with Raw(unchanged[1]) as raw:
        reply = raw.refused(message(Kind.HELLO, 7, 1, b'{"client": "", "attempt": 0}'))
        assert (reply["outcome"], reply["reason"]) == (Outcome.MOVED, "shard 7 is not here, but 0")


@pytest.mark.parametrize("size", [10, 3 * CHUNK * 9])
def test_a_slot_that_could_shrink_is_refused(unchanged: tuple[Shard, Path], size: int) -> None:
    """Reading what was cut off a mapped file kills a process (SIGBUS)."""
    descriptor = os.memfd_create("unsealed")
    os.ftruncate(descriptor, size)
    with Raw(unchanged[1]) as raw:
        assert "this is no slot" in str(raw.refused(message(Kind.SLOT, 0, 1), descriptor)["reason"])
        assert "no file came" in str(raw.refused(message(Kind.SLOT, 0, 2))["reason"])
    os.close(descriptor)


def test_a_slot_that_is_too_small_is_refused(unchanged: tuple[Shard, Path]) -> None:
    with Raw(unchanged[1]) as raw:
        assert "no slot" in str(raw.refused(large_push(Where.SLOT, [0] * 7))["reason"])
        slot = Slot.create(0)
        assert raw.say(message(Kind.SLOT, 0, 1), slot.descriptor) is not None
        pieces = [Part(PIECE.key, np.ones(8 * CHUNK, np.float32))]
        push = announced(0, Push(PushId("me", 0), 0, 1, pieces))
        body = pushes_body(Where.SLOT, 0, 1.0, [push], [0] * packing_of([push]).chunks)
        assert raw.refused(message(Kind.PUSHES, 0, 1, body))["outcome"] == Outcome.TRUNCATED
        slot.close()


def slotted(raw: Raw, spoil: Callable[[Slot], None]) -> Outcome:
    """What is said of a push of ones from a slot that is spoilt between copying and telling."""
    slot = Slot.create(4 * SIZE)
    assert raw.say(message(Kind.SLOT, 0, 1), slot.descriptor) is not None
    values = np.ndarray(SIZE, np.float32, slot.file, 4096)
    values[:] = 1
    step = CHUNK // 4
    sums = [xxhash.xxh3_64_intdigest(values[start : start + step].data) for start in range(0, SIZE, step)]
    spoil(slot)
    reply = raw.say(large_push(Where.SLOT, sums))
    assert reply is not None
    slot.close()
    return read_answers(reply[1])[0].outcome


@pytest.mark.parametrize("place", [0, CHUNK - 1, CHUNK, 4 * SIZE - 1])
def test_a_flipped_bit_in_a_slot_is_seen(unchanged: tuple[Shard, Path], place: int) -> None:
    def spoil(slot: Slot) -> None:
        slot.file[4096 + place] ^= 4

    with Raw(unchanged[1]) as raw:
        assert slotted(raw, spoil) is Outcome.CORRUPTED


@pytest.mark.parametrize("bad", [0, 3])
def test_a_flipped_bit_in_the_ring_is_seen(unchanged: tuple[Shard, Path], bad: int) -> None:
    slot = Slot.create(0)
    ones = np.ones(CHUNK // 4, np.float32)
    with Raw(unchanged[1]) as raw:
        assert raw.say(message(Kind.SLOT, 0, 1), slot.descriptor) is not None
        slot.begin(5)
        for number in range(CELLS):
            count = min(len(ones), SIZE - number * len(ones))
            slot.cell(number, "float32")[:count] = ones[:count]
            slot.fill(number, xxhash.xxh3_64_intdigest(ones[:count].data) ^ (number == bad))
        reply = raw.say(large_push(Where.RING, [], serial=5))
        assert reply is not None
        assert read_answers(reply[1])[0].outcome is Outcome.CORRUPTED
        assert raw.refused(large_push(Where.RING, [], serial=6))["outcome"] == Outcome.CORRUPTED
    slot.close()


def test_who_stands_still_in_the_ring_is_not_waited_for(unchanged: tuple[Shard, Path]) -> None:
    """It is told to send its push whole, and nobody else waits for it."""
    slot = Slot.create(0)
    with Raw(unchanged[1]) as raw:
        assert raw.say(message(Kind.SLOT, 0, 1), slot.descriptor) is not None
        slot.begin(1)
        slot.cell(0, "float32")[:] = 1
        slot.fill(0, xxhash.xxh3_64_intdigest(np.ones(CHUNK // 4, np.float32).data))
        reply = raw.say(large_push(Where.RING, [], serial=1, seconds=1000.0))
        assert reply is not None
        assert reply[0] is Kind.WHOLE
    slot.close()


def test_a_creation_with_a_wrong_checksum_creates_nothing(unchanged: tuple[Shard, Path]) -> None:
    shard, path = unchanged
    slot = Slot.create(64)
    asked = {"pieces": [Piece("new", (1,), "float32", 0, 1).to_json()], "kinds": [["float32", 1]], "sums": [1]}
    with Raw(path) as raw:
        assert raw.say(message(Kind.SLOT, 0, 1), slot.descriptor) is not None
        reply = raw.refused(message(Kind.CREATE, 0, 1, json.dumps(asked).encode()))
        assert reply["outcome"] == Outcome.CORRUPTED
        asked["kinds"] = [["object", 1]]
        assert raw.refused(message(Kind.CREATE, 0, 1, json.dumps(asked).encode()))["reason"]
    slot.close()
    assert len(shard.memory.pieces) == 2


def test_a_client_of_another_user_is_refused(unchanged: tuple[Shard, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    shard, path = unchanged
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 4711)
        patch.setattr("parameter_server.listeners.caller.TRUSTED", ())
        with Raw(path) as raw:
            assert raw.closed()
    assert shard.statistics.pushes[Outcome.UNAUTHENTICATED] == 1


@given(st.binary(max_size=200))
def test_pushes_are_read_or_refused(body: bytes) -> None:
    with suppress(StoreError):
        read_pushes(body)


@given(
    st.lists(
        st.tuples(st.text(max_size=20), st.integers(0, 2**40), st.floats(allow_nan=False), st.booleans()), max_size=4
    )
)
def test_pushes_survive_the_wire(given_: list[tuple[str, int, float, bool]]) -> None:
    pushes = [
        announced(
            number,
            Push(
                PushId(name, count, 3), count, 5, [Part(name, np.ones(6), np.array([1, 2]) if sparse else None)], scale
            ),
            7,
            count,
        )
        for number, (name, count, scale, sparse) in enumerate(given_)
    ]
    chunks = packing_of(pushes).chunks
    read = read_pushes(pushes_body(Where.SLOT, 9, 2.5, pushes, range(chunks)))
    assert read.pushes == tuple(pushes)
    assert read.sums == tuple(range(chunks))
    assert (read.where, read.serial, read.seconds, read.packing) == (Where.SLOT, 9, 2.5, packing_of(pushes))
