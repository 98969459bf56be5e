"""Bad input over real gRPC, with TLS and a token: its own outcome, its own counter, nothing changed, still alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from certificates import TOKEN, Certificates, certificates

from parameter_server import parameter_server_pb2 as pb
from parameter_server.link import Part, Push
from parameter_server.links.network import OPTIONS, NetworkLink
from parameter_server.listeners import servicer
from parameter_server.listeners.network import NetworkListener
from parameter_server.messages import codec
from parameter_server.messages.codec import HEADER, MESSAGE, Frame, Kind
from parameter_server.messages.translation import push_messages
from parameter_server.optimizers import Momentum
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Group, Policy
from parameter_server.security import HEADER as TOKEN_HEADER
from parameter_server.security import Security
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard
from parameter_server.store import FencedError, PushId, StoreError

PIECE = Piece("a", (3, 4), "float32", 0, 12)
GRADIENT = np.arange(12, dtype=np.float32)


class World:
    """A shard that listens with everything on, a client that it knows, and a way to send it anything."""

    def __init__(self, folder: Path) -> None:
        self.secured: Certificates = certificates(folder)
        policy = Policy((Group(Momentum(0.5)),))
        self.shard = Shard(0, 1, HeapMemory(), policy, clock=time.monotonic)
        self.listener = NetworkListener([self.shard], "127.0.0.1:0", self.secured.listener, lambda _: "")
        self.link = NetworkLink(self.listener.address, 0, self.secured.client, seconds=20)
        self.link.create([PIECE], [np.ones(12, np.float32)])
        self.link.hello("old", 1)
        self.link.hello("c", 0)
        credentials = self.secured.client.calling()
        assert credentials is not None
        self.channel: Any = grpc.secure_channel(self.listener.address, credentials, OPTIONS)

    def push(self, **changes: Any) -> Push:
        """One that would be applied, but for the changes."""
        good: dict[str, Any] = {"id": PushId("c", 1), "base": 0, "table": 1, "parts": [Part(PIECE.key, GRADIENT)]}
        return Push(**(good | changes))

    def send(self, messages: list[bytes], method: str = "Push", token: str = TOKEN) -> pb.Answer:
        call = self.channel.stream_unary(f"/cellwright.parameter_server.Shard/{method}", None, pb.Answer.FromString)
        answer: pb.Answer = call(iter(messages), timeout=20, metadata=((TOKEN_HEADER, f"Bearer {token}"),))
        return answer

    def good(self) -> list[bytes]:
        return list(push_messages(0, self.push()))

    def close(self) -> None:
        self.link.close()
        self.channel.close()
        self.listener.close()


def failure(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """The status that a call ends with, and what is said of it."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    return error.code(), error.details()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("certificates"))
    yield made
    made.close()


def pushed(**changes: Any) -> Callable[[World], str]:
    """What is answered to a push that is wrong in itself."""
    return lambda world: world.link.push(world.push(**changes)).outcome


def sent(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[World], str]:
    """What is answered to a good push that was changed on its way."""
    return lambda world: world.send(change(world.good())).outcome


def flipped(at: int) -> Callable[[list[bytes]], list[bytes]]:
    def flip(messages: list[bytes]) -> list[bytes]:
        changed = bytearray(messages[0])
        changed[at] ^= 4
        return [bytes(changed)]

    return flip


def announced(values: int, *frames: Frame, **part: Any) -> Callable[[list[bytes]], list[bytes]]:
    """A stream whose heading and frames are each sound, but do not fit each other, or the shard."""
    message = pb.Heading(client="c", number=1, table=1, scale=1)
    fields: dict[str, Any] = {"key": PIECE.key, "encoding": "float32", "values": values}
    message.parts.append(pb.Part(**(fields | part)))
    stream = codec.messages([codec.heading(message.SerializeToString()), *frames])
    return lambda _: list(stream)


def values(offset: int, count: int, dtype: str = "float32") -> Frame:
    return Frame(Kind.VALUES, 0, dtype, offset, np.zeros(count, dtype))


def refused_call(security: Callable[[World], Security]) -> Callable[[World], str]:
    """What a link with other credentials is told."""

    def call(world: World) -> str:
        link = NetworkLink(world.listener.address, 0, security(world), seconds=20)
        try:
            with pytest.raises(StoreError) as caught:
                link.push(world.push())
        finally:
            link.close()
        assert caught.value.outcome is not None
        return caught.value.outcome

    return call


def with_value(value: float) -> list[Part]:
    gradient = GRADIENT.copy()
    gradient[7] = value
    return [Part(PIECE.key, gradient)]


BAD: dict[str, tuple[Callable[[World], str], Outcome]] = {
    "a wrong name": (pushed(parts=[Part("b@0", GRADIENT)]), Outcome.UNKNOWN_NAME),
    "a wrong shape": (pushed(parts=[Part(PIECE.key, GRADIENT[:11])]), Outcome.WRONG_SHAPE),
    "a row that is not there": (
        pushed(parts=[Part(PIECE.key, GRADIENT[:4], np.array([3]))]), Outcome.WRONG_SHAPE,
    ),
    "a piece twice": (pushed(parts=[Part(PIECE.key, GRADIENT)] * 2), Outcome.WRONG_SHAPE),
    "a wrong dtype": (pushed(parts=[Part(PIECE.key, GRADIENT.astype(np.float64))]), Outcome.WRONG_DTYPE),
    "a NaN": (pushed(parts=with_value(np.nan)), Outcome.NOT_FINITE),
    "an infinite number": (pushed(parts=with_value(-np.inf)), Outcome.NOT_FINITE),
    "a scale that is no number": (pushed(scale=np.nan), Outcome.NOT_FINITE),
    "an attempt that was replaced": (pushed(id=PushId("old", 0, 0)), Outcome.FENCED),
    "a client that never said hello": (pushed(id=PushId("nobody", 0)), Outcome.UNKNOWN_CLIENT),
    "no client at all": (pushed(id=PushId("", 0)), Outcome.UNKNOWN_CLIENT),
    "a version that never was": (pushed(base=10**6), Outcome.FROM_THE_FUTURE),
    "a version before all": (pushed(base=-1), Outcome.FROM_THE_FUTURE),
    "another table of pieces": (pushed(table=7), Outcome.MOVED),
    "a message that is too long": (sent(lambda _: [bytes(MESSAGE + 1)]), Outcome.TOO_LARGE),
    "more than a shard can want": (sent(announced(10**9)), Outcome.TOO_LARGE),
    "zeros more than a shard can want": (
        sent(announced(0, form=pb.Part.ELEMENTS, size=2**60)), Outcome.TOO_LARGE,
    ),
    "more than was announced": (sent(announced(12, values(0, 12), values(0, 1))), Outcome.TOO_LARGE),
    "a message that ends early": (sent(lambda messages: [messages[0][:-5]]), Outcome.TRUNCATED),
    "a header that ends early": (sent(lambda messages: [messages[0][: HEADER.size - 1]]), Outcome.TRUNCATED),
    "less than was announced": (sent(announced(12, values(0, 6))), Outcome.TRUNCATED),
    "no message": (sent(lambda _: []), Outcome.TRUNCATED),
    "numbers that overlap": (sent(announced(12, values(0, 6), values(3, 9))), Outcome.CORRUPTED),
    "a flipped bit among the numbers": (sent(flipped(-3)), Outcome.CORRUPTED),
    "a flipped bit in a heading": (sent(flipped(HEADER.size + 3)), Outcome.CORRUPTED),
    "a flipped bit in a checksum": (sent(flipped(HEADER.size - 1)), Outcome.CORRUPTED),
    "numbers before a heading": (
        sent(lambda _: list(codec.messages([values(0, 2)]))), Outcome.CORRUPTED,
    ),
    "bytes of something else": (sent(lambda _: [b"\x80\x04\x95" + bytes(100)]), Outcome.CORRUPTED),
    "a format of the future": (sent(flipped(4)), Outcome.FROM_THE_FUTURE),
    "an unknown encoding": (sent(announced(12, encoding="object")), Outcome.WRONG_DTYPE),
    "another encoding than announced": (sent(announced(12, values(0, 12, "float64"))), Outcome.WRONG_DTYPE),
    "elements out of order": (
        sent(
            announced(
                2, Frame(Kind.PLACES, 0, "uint32", 0, np.array([5, 5])), values(0, 2),
                form=pb.Part.ELEMENTS, places=2, size=12,
            )
        ),
        Outcome.WRONG_SHAPE,
    ),
    "more rows than numbers": (sent(announced(1, form=pb.Part.ROWS, places=2)), Outcome.WRONG_SHAPE),
    "no token": (refused_call(lambda world: replace(world.secured.client, token="")), Outcome.UNAUTHENTICATED),
    "a wrong token": (
        refused_call(lambda world: replace(world.secured.client, token=TOKEN[::-1])), Outcome.UNAUTHENTICATED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_has_its_own_outcome_and_counter_and_changes_nothing(world: World, name: str) -> None:
    send, expected = BAD[name]
    before, counts = world.link.pull([PIECE.key]), world.link.statistics().pushes
    memory = [buffer.tobytes() for buffer in world.shard.memory.front(0)]
    assert send(world) == expected
    after = world.link.pull([PIECE.key])
    assert after.version == before.version
    assert [buffer.tobytes() for buffer in world.shard.memory.front(0)] == memory
    assert world.link.statistics().pushes == counts | {str(expected): counts[expected] + 1}


def test_after_all_that_a_good_push_is_applied(world: World) -> None:
    answer = world.link.push(world.push(id=PushId("c", 0)))
    assert (answer.outcome, answer.version) == (Outcome.APPLIED, 1)


def test_a_message_beyond_all_bounds_ends_only_its_call(world: World) -> None:
    code, _ = failure(lambda: world.send([bytes(3 * MESSAGE)]))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert world.link.hello("", 0).table == 1


@pytest.mark.parametrize("method", ["Create", "Pull", "Hello", "Beat", "Leave", "Statistics", "Snapshot", "Nothing"])
def test_bytes_that_say_nothing_are_an_error_without_a_traceback(world: World, method: str) -> None:
    code, details = failure(lambda: world.send([b"\xff\xff\xff\xff"], method))
    statuses = grpc.StatusCode
    assert code in (statuses.INVALID_ARGUMENT, statuses.INTERNAL, statuses.UNIMPLEMENTED)
    for word in ("Traceback", ".py", "Error", "Exception call"):
        assert word not in details


def test_a_failure_of_the_shard_itself_is_not_told_to_the_client(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret of the shard")

    with monkeypatch.context() as patch:
        patch.setattr(Shard, "hello", fail)
        with pytest.raises(StoreError, match="the shard failed: its log says why") as caught:
            world.link.hello("c", 0)
    assert "secret" not in str(caught.value)
    assert "a secret of the shard" in caplog.text
    assert world.link.hello("c", 0).table == 1


def test_what_cannot_be_created_is_refused_with_an_outcome(world: World) -> None:
    for first, outcome in (
        (np.array([1, np.nan], np.float32), Outcome.NOT_FINITE),
        (np.zeros(2), Outcome.WRONG_DTYPE),
        (np.zeros(3, np.float32), Outcome.WRONG_SHAPE),
    ):
        with pytest.raises(StoreError) as caught:
            world.link.create([Piece("b", (2,), "float32", 0, 2)], [first])
        assert caught.value.outcome is outcome
    with pytest.raises(StoreError, match="there is no piece 'b@0'"):
        world.link.pull(["b@0"])


def test_an_attempt_that_was_replaced_is_told_to_stop(world: World) -> None:
    for call in (world.link.hello, world.link.beat, world.link.leave):
        with pytest.raises(FencedError, match="attempt 1 of old has taken over"):
            call("old", 0)


def test_a_call_without_a_deadline_is_refused(world: World) -> None:
    call = world.channel.unary_unary("/cellwright.parameter_server.Shard/Hello")
    code, details = failure(lambda: call(b"", metadata=((TOKEN_HEADER, f"Bearer {TOKEN}"),)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "deadline" in details


CERTIFICATES: dict[str, Callable[[Certificates], Security]] = {
    "one of a stranger": lambda secured: secured.stranger,
    "none": lambda secured: replace(secured.client, certificate=None, key=None),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_bad_certificate_is_refused_at_once_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(servicer, "PATIENCE", 0.2)
    world = World(tmp_path)
    link = NetworkLink(world.listener.address, 0, CERTIFICATES[name](world.secured), seconds=60)
    try:
        with pytest.raises(StoreError, match="does not take") as caught:
            link.push(world.push())
        assert caught.value.outcome is Outcome.UNAUTHENTICATED
        while not (counts := world.link.statistics().pushes)[Outcome.UNAUTHENTICATED]:
            time.sleep(0.05)  # ends with the time limit of tests where nothing is counted
        assert sum(counts.values()) == counts[Outcome.UNAUTHENTICATED]
        assert world.link.pull([PIECE.key]).version == 0
    finally:
        link.close()
        world.close()


def test_a_listener_with_a_bad_certificate_is_not_told_anything(world: World) -> None:
    """Neither a token nor a gradient goes to who cannot show that it is the one."""
    wrong = replace(world.secured.client, authority=world.secured.stranger.certificate)
    link = NetworkLink(world.listener.address, 0, wrong, seconds=60)
    try:
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            link.push(world.push())
        assert caught.value.outcome is Outcome.UNAUTHENTICATED
    finally:
        link.close()
