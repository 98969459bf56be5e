"""A shard over gRPC: the same as one in this process, whatever is lost on the way, and however many ask at once."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import grpc
import numpy as np
import pytest
from certificates import TOKEN, certificates
from grpc_health.v1 import health_pb2, health_pb2_grpc
from proxy import Proxy

from parameter_server.link import Answer, Part, Push
from parameter_server.links import network
from parameter_server.links.direct import DirectLink
from parameter_server.links.network import NetworkLink
from parameter_server.listeners import servicer
from parameter_server.listeners.network import SPARE, NetworkListener
from parameter_server.listeners.room import Room
from parameter_server.listeners.servicer import SERVICE
from parameter_server.messages.codec import PAYLOAD
from parameter_server.messages.compression import Compression, TopK, narrowed, widened
from parameter_server.optimizers import SGD, Adam
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Group, Policy, Sync
from parameter_server.security import Security
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard
from parameter_server.store import PushId, StoreError, UnreachableError

LOOPBACK = "127.0.0.1:0"
PIECES = (
    Piece("large", (3, PAYLOAD // 8), "float32", 0, 3 * PAYLOAD // 8),  # three halves of a message
    Piece("double", (5, 2), "float64", 0, 10),
    Piece("table", (6, 3), "float32", 0, 18),
    Piece("number", (), "float32", 0, 1),
    Piece("nothing", (0, 4), "float32", 0, 0),
)
PLAIN = Policy((Group(SGD(0.5)),))


def shard(policy: Policy = PLAIN, number: int = 0, **more: Any) -> Shard:
    return Shard(number, number + 1, HeapMemory(), policy, clock=time.monotonic, **more)


class Net:
    """Listeners and links that are closed in the end."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def listener(self, *shards: Shard, address: str = LOOPBACK, security: Security | None = None) -> NetworkListener:
        made = NetworkListener(shards, address, security or Security(), lambda number: f"snapshot of {number}")
        self.stack.callback(made.close)
        return made

    def link(
        self,
        address: str,
        number: int = 0,
        security: Security | None = None,
        seconds: float = 30,
        compression: Compression = None,
    ) -> NetworkLink:
        made = NetworkLink(address, number, security, seconds=seconds, compression=compression)
        self.stack.callback(made.close)
        return made

    def to(self, of: Shard, **more: Any) -> NetworkLink:
        return self.link(self.listener(of).address, of.number, **more)


@pytest.fixture
def net() -> Iterator[Net]:
    with ExitStack() as stack:
        yield Net(stack)


def first_values() -> list[Any]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(piece.size).astype(piece.dtype) for piece in PIECES]


def gradients(seed: int) -> list[Part]:
    """Dense ones, and some rows of one tensor."""
    generator = np.random.default_rng(seed)
    parts = [Part(piece.key, generator.standard_normal(piece.size).astype(piece.dtype)) for piece in PIECES]
    parts[2] = Part(PIECES[2].key, generator.standard_normal(6).astype(np.float32), np.array([1, 4]))
    return parts


def test_a_shard_over_grpc_does_what_one_in_this_process_does(net: Net) -> None:
    """Welcomes, answers, versions, and every bit of the numbers, over some pushes."""
    policy = Policy((Group(Adam(0.01), "large"), Group(SGD(0.1), clip=0.5)), norm=3.0)
    here, there = shard(policy), shard(policy)
    links = (DirectLink(here), net.to(there))
    for link in links:
        assert link.create(PIECES, first_values()) == tuple(piece.key for piece in PIECES)
        assert link.create(PIECES, first_values()) == ()
        link.hello("client", 3)
    assert links[0].hello("", 0) == links[1].hello("", 0)
    for number in range(3):
        push = Push(PushId("client", number, 3), number, 1, gradients(number), scale=0.7)
        assert links[0].push(push) == links[1].push(push) == Answer(Outcome.APPLIED, number + 1)
        assert (
            links[0].push(push) == links[1].push(push) == Answer(Outcome.DUPLICATE, number + 1, "it was counted before")
        )
    keys = [piece.key for piece in PIECES]
    pulled = [link.pull(keys) for link in links]
    assert (pulled[0].version, pulled[0].table) == (pulled[1].version, pulled[1].table) == (3, 1)
    for key in keys:
        assert pulled[0].parts[key].dtype == pulled[1].parts[key].dtype
        np.testing.assert_array_equal(pulled[0].parts[key], pulled[1].parts[key])
    assert links[0].hello("client", 3) == links[1].hello("client", 3)


def test_only_what_changed_is_pulled_and_to_where_it_is_wanted(net: Net) -> None:
    link = net.to(shard())
    link.create(PIECES, first_values())
    link.hello("c", 0)
    link.push(Push(PushId("c", 0), 0, 1, [Part("number@0", np.ones(1, np.float32))]))
    keys = [piece.key for piece in PIECES]
    assert set(link.pull(keys, newer_than=0).parts) == {"number@0"}
    assert link.pull(keys, newer_than=1).parts == {}
    assert set(link.pull(keys, newer_than=-1).parts) == set(keys)
    into = {"large@0": np.empty(PIECES[0].size, np.float32), "number@0": np.empty(1, np.float32)}
    pulled = link.pull(keys, into=into)
    for key, array in into.items():
        assert pulled.parts[key] is array
    np.testing.assert_array_equal(into["large@0"], first_values()[0])


def test_what_was_pulled_stays_as_it_is(net: Net) -> None:
    link = net.to(shard())
    link.create(PIECES, first_values())
    link.hello("c", 0)
    before = link.pull(["number@0"]).parts["number@0"]
    copy = before.copy()
    for number in range(3):
        link.push(Push(PushId("c", number), 0, 1, [Part("number@0", np.ones(1, np.float32))]))
    np.testing.assert_array_equal(before, copy)


def test_snapshots_statistics_beats_and_leaves_travel(net: Net) -> None:
    of = shard(number=3)
    link = net.to(of)
    link.hello("c", 0)
    link.beat("c", 0)
    of.statistics.pull_seconds.observe(0.3)
    assert link.snapshot() == "snapshot of 3"
    assert link.statistics() == of.statistics
    assert link.statistics().clients == 1
    link.leave("c", 0)
    assert link.statistics().clients == 0


def test_shards_of_one_process_share_a_listener_and_others_are_not_there(net: Net, tmp_path: Path) -> None:
    listener = net.listener(shard(number=0), shard(number=4), address=f"unix:{tmp_path}/socket")
    assert net.link(listener.address, 4).hello("", 0).shard == 4
    assert net.link(listener.address, 0).hello("", 0).shard == 0
    with pytest.raises(StoreError, match="shard 1 is not here, but 0, 4") as caught:
        net.link(listener.address, 1).hello("", 0)
    assert caught.value.outcome is Outcome.MOVED


@pytest.mark.parametrize("encoding", ["bfloat16", "float16"])
def test_a_gradient_in_half_precision_is_stepped_as_it_was_rounded(net: Net, encoding: Any) -> None:
    of = shard()
    link = net.to(of, compression=encoding)
    link.create(PIECES, [np.zeros_like(values) for values in first_values()])
    link.hello("c", 0)
    parts = [Part(piece.key, values) for piece, values in zip(PIECES, first_values(), strict=True)]
    parts[3] = Part("number@0", np.array([3.4e38], np.float32))  # infinite in half precision, so it travels whole
    received = of.statistics.bytes_in
    assert link.push(Push(PushId("c", 0), 0, 1, parts)).outcome is Outcome.APPLIED
    assert of.statistics.bytes_in > received
    pulled = link.pull([piece.key for piece in PIECES]).parts
    for piece, part in zip(PIECES, parts, strict=True):
        expected = part.values
        if piece.dtype == "float32" and piece.name != "number":
            short = narrowed(part.values, encoding)
            assert short is not None
            expected = widened(short, encoding)
        np.testing.assert_array_equal(pulled[piece.key], np.float32(-0.5) * expected)


def test_of_a_gradient_the_largest_elements_travel_and_the_others_next_time(net: Net) -> None:
    link = net.to(shard(), compression=TopK(0.5))
    link.create([PIECES[1]], [np.zeros(10)])
    link.hello("c", 0)
    gradient = np.arange(10.0) ** 2
    for number in range(2):
        answer = link.push(Push(PushId("c", number), number, 1, [Part("double@0", gradient)], 0.5))
        assert answer == Answer(Outcome.APPLIED, number + 1)
    first = np.array([0, 0, 0, 0, 0, 25, 36, 49, 64, 81])
    second = np.array([0, 0, 0, 0, 32, 0, 36, 49, 64, 81])  # of what is new, and 0 1 4 9 16, which were owed
    np.testing.assert_array_equal(link.pull(["double@0"]).parts["double@0"], -0.25 * (first + second))


def test_a_round_is_closed_by_the_last_of_its_clients(net: Net) -> None:
    of = shard(Policy((Group(SGD(1.0)),), mode=Sync(3)))
    link = net.to(of)
    link.create([PIECES[1]], [np.zeros(10)])
    for client in "abc":
        link.hello(client, 0)

    def push(client: str) -> Answer:
        return link.push(Push(PushId(client, 0), 0, 1, [Part("double@0", np.full(10, float(ord(client))))]))

    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(push, "abc"))
    assert answers == [Answer(Outcome.APPLIED, 1)] * 3
    assert link.pull(["double@0"]).parts["double@0"][0] == -98.0


def test_a_round_of_more_clients_than_a_link_sends_for_at_once_is_closed(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that wait for the round keep the last of it waiting only for a moment."""
    monkeypatch.setattr(network, "AT_ONCE", 2)
    of = shard(Policy((Group(SGD(1.0)),), mode=Sync(5)))
    link = net.to(of)
    link.create([PIECES[1]], [np.zeros(10)])
    for client in "abcde":
        link.hello(client, 0)

    def push(client: str) -> Answer:
        return link.push(Push(PushId(client, 0), 0, 1, [Part("double@0", np.ones(10))]))

    with ThreadPoolExecutor(5) as threads:
        assert set(threads.map(push, "abcde")) == {Answer(Outcome.APPLIED, 1)}


def test_a_push_that_waits_is_answered_before_its_call_ends(net: Net) -> None:
    of = shard(Policy((Group(SGD(1.0)),), mode=Sync(2)))
    link = net.to(of, seconds=5)
    link.create([PIECES[1]], [np.zeros(10)])
    for client in "ab":
        link.hello(client, 0)
    answer = link.push(Push(PushId("a", 0), 0, 1, [Part("double@0", np.ones(10))]))
    assert answer.outcome is Outcome.WAITING
    assert link.pull(["double@0"]).version == 0


class Killer:
    """Ends the connections of a listener in the middle of a push, and listens on the same port again."""

    def __init__(self, net: Net, moment: str) -> None:
        self.net = net
        self.moment = moment
        self.left = 1
        self.of = shard(probe=self.probe)
        self.listener = net.listener(self.of)
        self.restarted: list[Thread] = []

    def probe(self, moment: str) -> None:
        if moment == self.moment and self.left:
            self.left -= 1
            self.listener._server.stop(0)  # which ends calls without an answer, and does not wait for them
            thread = Thread(target=self.restart)
            thread.start()
            self.restarted.append(thread)

    def restart(self) -> None:
        self.listener.close()
        self.net.listener(self.of, address=self.listener.address)


@pytest.mark.parametrize("moment", ["before apply", "inside apply", "after apply", "after commit"])
def test_a_push_whose_answer_was_lost_is_sent_again_and_counts_once(net: Net, moment: str) -> None:
    killer = Killer(net, moment)
    link = net.link(killer.listener.address)
    link.create(PIECES, first_values())
    link.hello("c", 0)
    parts = [Part(piece.key, values) for piece, values in zip(PIECES, first_values(), strict=True)]
    answer = link.push(Push(PushId("c", 0), 0, 1, parts))
    for thread in killer.restarted:
        thread.join()
    assert killer.left == 0
    assert answer.outcome.counted
    assert (answer.version, link.pull(["number@0"]).version) == (1, 1)
    assert killer.of.statistics.pushes[Outcome.APPLIED] == 1


def test_a_shard_that_is_not_there_is_unreachable_when_the_time_is_over(net: Net) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(UnreachableError, match=f"shard 0 at {address} did not answer"):
        net.link(address, seconds=0.3).hello("c", 0)


def test_a_shard_that_accepts_and_stays_silent_is_unreachable_too(net: Net) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        link = net.link(f"127.0.0.1:{silent.getsockname()[1]}", seconds=0.5)
        with pytest.raises(UnreachableError, match="did not answer"):
            link.hello("c", 0)
        link.close()


def test_a_connection_that_falls_silent_is_given_up_long_before_the_deadline(net: Net) -> None:
    """Keepalive: without it, the call would wait for its answer until its time is over, and then be unreachable."""
    proxy = Proxy(net.listener(shard()).address)
    net.stack.callback(proxy.close)
    link = net.link(proxy.address, seconds=60)
    link.hello("c", 0)
    proxy.silence()
    assert link.hello("c", 0).number == 0


def test_many_calls_at_once_all_succeed_and_count_once(net: Net) -> None:
    """More than the listener takes at once: it says RESOURCE_EXHAUSTED to the others, and they come again."""
    of = shard(Policy((Group(SGD(1.0)),), in_flight=2))
    listener = net.listener(of)
    links = [net.link(listener.address, seconds=60) for _ in range(4)]
    links[0].create([PIECES[1]], [np.zeros(10)])
    clients = [f"client {number}" for number in range(120)]

    def work(number: int) -> Outcome:
        link = links[number % 4]
        link.hello(clients[number], 0)
        return link.push(Push(PushId(clients[number], 0), 0, 1, [Part("double@0", np.ones(10))])).outcome

    with ThreadPoolExecutor(len(clients)) as threads:
        assert set(threads.map(work, range(len(clients)))) == {Outcome.APPLIED}
    assert links[0].pull(["double@0"]).parts["double@0"].tolist() == [-120.0] * 10


def test_a_listener_that_is_full_says_so_at_once(net: Net) -> None:
    of = shard(Policy((Group(SGD(1.0)),), in_flight=1))
    listener = net.listener(of)
    channel = net.stack.enter_context(grpc.insecure_channel(listener.address))
    call: Any = channel.unary_unary(f"/{SERVICE}/Hello")
    done: Queue[grpc.StatusCode] = Queue()
    with of.lock:  # so that calls stay under way
        for _ in range(SPARE + 2):
            future = call.future(b"", timeout=100)
            future.add_done_callback(lambda ended: done.put(ended.code()))
        assert done.get() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert {done.get() for _ in range(SPARE + 1)} == {grpc.StatusCode.OK}


def test_pushes_that_come_in_hold_a_bounded_part_of_the_memory() -> None:
    room = Room()
    with room.taken(0, 90, 100), room.taken(0, 10, 100), room.taken(1, 500, 100):
        with pytest.raises(StoreError, match="send it again") as caught, room.taken(0, 1, 100):
            pass
        assert caught.value.outcome is Outcome.BUSY
    with room.taken(0, 100, 100):
        pass


def test_a_round_of_more_than_may_come_in_at_once_is_closed(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the round holds no room any more; others would be busy for ever."""
    monkeypatch.setattr(servicer, "ROOM", 0)
    monkeypatch.setattr(servicer, "SLACK", 1)
    of = shard(Policy((Group(SGD(1.0)),), mode=Sync(4)))
    link = net.to(of)
    link.create([PIECES[1]], [np.zeros(10)])

    def work(client: str) -> Outcome:
        link.hello(client, 0)
        push = Push(PushId(client, 0), 0, 1, [Part("double@0", np.ones(10))])
        while (outcome := link.push(push).outcome) is Outcome.BUSY:
            time.sleep(0.01)
        return outcome

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(work, "abcd")) == {Outcome.APPLIED}


def test_a_link_is_not_used_after_a_fork(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    link = net.to(shard())
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        with pytest.raises(StoreError, match="forked"):
            link.hello("c", 0)
    assert link.hello("c", 0).number == 0


def test_a_link_connects_with_its_first_call_and_again_after_it_was_closed(net: Net) -> None:
    link = net.to(shard())
    assert link._channel is None
    link.hello("c", 0)
    assert link._channel is not None
    link.close()
    link.close()
    assert link.hello("c", 0).number == 0


def test_health_is_for_everybody_and_nothing_else_is(net: Net, tmp_path: Path) -> None:
    secured = certificates(tmp_path)
    listener = net.listener(shard(), security=secured.listener)
    credentials = secured.client.calling()
    assert credentials is not None
    channel: Any = net.stack.enter_context(grpc.secure_channel(listener.address, credentials))
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
        assert answer == health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    refused: dict[str, Callable[[], Any]] = {
        "watch": lambda: next(health.Watch(health_pb2.HealthCheckRequest(), timeout=20)),
        "list": lambda: health.List(health_pb2.HealthListRequest(), timeout=20),
        "reflection": lambda: channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(
            b"", timeout=20
        ),
    }
    for call in refused.values():
        with pytest.raises(grpc.RpcError, match="the token is missing or wrong"):
            call()
    with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
        channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(
            b"", timeout=20, metadata=secured.client.metadata()
        )


def test_a_listener_leaves_loopback_only_with_a_certificate_and_a_token(net: Net, tmp_path: Path) -> None:
    for security in (Security(), Security(token=TOKEN)):
        with pytest.raises(StoreError, match="can be reached from other machines"):
            net.listener(shard(), address="0.0.0.0:0", security=security)
    secured = certificates(tmp_path)
    everywhere = net.listener(shard(), address="0.0.0.0:0", security=secured.listener)
    port = everywhere.address.rpartition(":")[2]
    assert net.link(f"127.0.0.1:{port}", security=secured.client).hello("", 0).shard == 0


def test_an_address_that_is_taken_is_an_error_for_people(net: Net) -> None:
    taken = net.listener(shard()).address
    with pytest.raises(StoreError, match=f"nobody can listen on {taken}"):
        net.listener(shard(), address=taken)
