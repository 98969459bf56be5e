"""A shard of another process of this machine: the same numbers as in this one, whatever way they go."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread, Timer, active_count

import numpy as np
import pytest

from parameter_server.link import Answer, Part, Push
from parameter_server.links.connection import Connection, Connections
from parameter_server.links.same_machine import SameMachineLink
from parameter_server.listeners.caller import Caller
from parameter_server.listeners.same_machine import SameMachineListener
from parameter_server.optimizers import SGD, Adam
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece, Whole, cut
from parameter_server.policy import Async, Group, Mode, Policy, Sync
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.memory import Memory
from parameter_server.shards.shard import Shard
from parameter_server.shared_memory.arena import Arena
from parameter_server.store import FencedError, PushId, StoreError, UnreachableError

RATE = 0.5


class Served:
    """Shards in this process behind one socket, and links to them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.shards: list[Shard] = []
        self.listener: SameMachineListener | None = None

    def start(self, mode: Mode | None = None, memories: tuple[Memory, ...] = (), lease: float = 60.0) -> None:
        """Serve; with memories in the heap, or else an arena that may be there already."""
        policy = Policy((Group(Adam(RATE), "adam*"), Group(SGD(RATE))), mode or Async(), lease=lease)
        path = self.folder / "arena"
        memories = memories or (Arena.open(path) if path.exists() else Arena.create(path),)
        self.shards = [
            Shard(number, len(memories), memory, policy, clock=time.monotonic) for number, memory in enumerate(memories)
        ]
        self.listener = SameMachineListener(self.shards, self.folder / "socket", lambda number: f"snapshot {number}")

    def stop(self) -> None:
        if self.listener is not None:
            self.listener.close()
            for shard in self.shards:
                shard.memory.close()
        self.listener = None

    def link(self, shard: int = 0, seconds: float = 20.0) -> SameMachineLink:
        link = SameMachineLink(Connections(self.folder / "socket", seconds), shard)
        self.stack.callback(link.close)
        return link


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with ExitStack() as stack:
        one = Served(tmp_path, stack)
        stack.callback(one.stop)
        yield one


def create(link: SameMachineLink, size: int, dtype: str = "float32", name: str = "w") -> list[Piece]:
    pieces = cut([Whole(name, (size,), dtype)], 1)
    values = [np.arange(piece.start, piece.stop, dtype=dtype) / size for piece in pieces]
    assert link.create(pieces, values) == tuple(piece.key for piece in pieces)
    return pieces


def push(number: int, parts: list[Part], table: int = 1, client: str = "me") -> Push:
    return Push(PushId(client, number), 0, table, parts)


def dense(pieces: list[Piece], gradient: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[Part]:
    return [Part(piece.key, gradient[piece.start : piece.stop].astype(piece.dtype)) for piece in pieces]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 3_001, 100_003, 1_500_001])
def test_numbers_are_those_of_a_plain_step_whichever_way_they_go(served: Served, size: int, dtype: str) -> None:
    """In the message, in a slot, and through the ring, in pieces that no chunk fits."""
    served.start()
    link = served.link()
    link.hello("me", 0)
    pieces = create(link, size, dtype)
    generator = np.random.default_rng(0)
    expected = np.arange(size, dtype=dtype) / size if size else np.zeros(0, dtype)
    for number in range(3):
        gradient = generator.standard_normal(size)
        answer = link.push(push(number, dense(pieces, gradient)))
        assert (answer.outcome, answer.version) == (Outcome.APPLIED, number + 1)
        expected -= (RATE * gradient.astype(dtype)).astype(dtype)
    pulled = link.pull([piece.key for piece in pieces])
    assert pulled.version == 3
    np.testing.assert_allclose(
        np.concatenate([pulled.parts[piece.key] for piece in pieces]), expected, rtol=1e-5, atol=1e-6
    )
    assert link.statistics().bytes_in >= 3 * expected.nbytes


def test_a_slot_that_the_shard_could_not_take_is_brought_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the shard has no descriptor left: the message comes without its file."""
    served.start()
    link = served.link()
    link.hello("me", 0)
    size = 100_000
    parts = dense(create(link, size), np.ones(size))
    with monkeypatch.context() as patch:
        patch.setattr(Caller, "_keep", lambda _, ancillary: dropped(ancillary))
        assert link.push(push(0, parts)).outcome is Outcome.TRUNCATED
    assert link.push(push(0, parts)).outcome is Outcome.APPLIED


def dropped(ancillary: list[tuple[int, int, bytes]]) -> None:
    for _, _, data in ancillary:
        for descriptor in np.frombuffer(data, np.int32).tolist():
            os.close(descriptor)


def test_rows_and_several_pieces_go_in_one_push(served: Served) -> None:
    served.start()
    link = served.link()
    link.hello("me", 0)
    matrix, vector = Piece("m", (4, 3), "float32", 0, 12), Piece("v", (2,), "float64", 0, 2)
    link.create([matrix, vector], [np.ones(12, np.float32), np.ones(2)])
    rows = Part("m@0", np.full((2, 3), 2, np.float32), np.array([1, 3]))
    answer = link.push(push(0, [rows, Part("v@0", np.array([4.0, 6.0]))]))
    assert answer == Answer(Outcome.APPLIED, 1)
    parts = link.pull(["m@0", "v@0"]).parts
    assert parts["m@0"].tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert parts["v@0"].tolist() == [-1, -2]


def test_a_shard_says_the_same_as_in_this_process(served: Served) -> None:
    served.start()
    link = served.link()
    create(link, 5)
    assert link.hello("me", 3) == served.shards[0].hello("me", 3)
    with pytest.raises(FencedError, match="attempt 3 of me has taken over"):
        link.hello("me", 2)
    with pytest.raises(FencedError):
        link.beat("me", 2)
    link.beat("me", 4)
    link.leave("me", 4)
    assert served.shards[0].statistics.clients == 0
    assert link.snapshot() == "snapshot 0"
    link.pull(["w@0"])
    assert link.statistics() == served.shards[0].statistics
    assert link.statistics().pulls == 1
    assert link.statistics().bytes_out == 20


def test_the_first_create_wins(served: Served) -> None:
    served.start()
    link = served.link()
    pieces = create(link, 3)
    other = Piece("x", (1,), "float64", 0, 1)
    assert link.create([*pieces, other], [np.zeros(3, np.float32), np.ones(1)]) == ("x@0",)
    assert link.pull(["w@0", "x@0"]).parts["w@0"].tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    with pytest.raises(StoreError, match="not finite"):
        link.create([Piece("y", (1,), "float64", 0, 1)], [np.array([np.nan])])


def test_a_push_counts_once_however_often_it_comes(served: Served) -> None:
    served.start()
    link = served.link()
    link.hello("me", 0)
    for size, name in ((3, "w"), (100_000, "slot"), (600_000, "ring")):
        pieces = create(link, size, name=name)
        table = link.hello("", 0).table
        number = link.hello("", 0).version
        sent = push(number, dense(pieces, np.ones(size)), table)
        assert [link.push(sent).outcome for _ in range(2)] == [Outcome.APPLIED, Outcome.DUPLICATE]
        assert link.pull([pieces[0].key]).parts[pieces[0].key][0] == -RATE


@pytest.mark.parametrize("heap", [False, True])
def test_only_what_is_newer_is_pulled_and_into_what_is_given(served: Served, heap: bool) -> None:
    """From the mapped memory, and from a shard whose memory cannot be mapped, which copies."""
    served.start(memories=(HeapMemory(),) if heap else ())
    link = served.link()
    link.hello("me", 0)
    first, second = create(link, 5, name="a"), create(link, 70_000, name="b")
    assert link.push(push(0, dense(first, np.ones(5)), table=2)).version == 1
    mine = np.zeros(5, np.float32)
    pulled = link.pull(["a@0", "b@0"], 0, {"a@0": mine})
    assert (list(pulled.parts), pulled.version, pulled.table) == (["a@0"], 1, 2)
    assert pulled.parts["a@0"] is mine
    assert mine.tolist() == pytest.approx([index / 5 - RATE for index in range(5)])
    assert link.pull(["a@0", "b@0"], 1).parts == {}
    whole = link.pull(["b@0"]).parts["b@0"]
    np.testing.assert_array_equal(whole, np.arange(70_000, dtype=np.float32) / 70_000)
    assert link.push(push(1, dense(second, np.ones(70_000)), table=2)).version == 2
    np.testing.assert_array_equal(whole, np.arange(70_000, dtype=np.float32) / 70_000)
    with pytest.raises(StoreError, match="no piece 'c@0'"):
        link.pull(["c@0"])
    create(served.link(), 4, name="c")
    assert link.pull(["c@0"]).parts["c@0"].tolist() == [0, 0.25, 0.5, 0.75]


def test_a_synchronous_round_waits_for_its_workers(served: Served) -> None:
    served.start(Sync(2))
    links = [served.link() for _ in range(2)]
    pieces = create(links[0], 600_000)
    answers: dict[int, Answer] = {}
    for client in range(2):
        links[client].hello(str(client), 0)

    def work(client: int) -> None:
        parts = dense(pieces, np.full(600_000, 2.0 * client))
        answers[client] = links[client].push(push(0, parts, client=str(client)))

    threads = [Thread(target=work, args=(client,)) for client in range(2)]
    threads[0].start()
    time.sleep(0.1)
    assert answers == {}
    threads[1].start()
    for thread in threads:
        thread.join()
    assert answers == {0: Answer(Outcome.APPLIED, 1), 1: Answer(Outcome.APPLIED, 1)}
    assert links[0].pull(["w@0"]).parts["w@0"][0] == -RATE


def test_who_waits_alone_is_told_to_send_again(served: Served) -> None:
    served.start(Sync(2))
    link = served.link(seconds=0.6)
    other = served.link()
    pieces = create(link, 3)
    for client, one in (("me", link), ("other", other)):
        one.hello(client, 0)
    sent = push(0, dense(pieces, np.ones(3)))
    assert link.push(sent).outcome is Outcome.WAITING
    answers: list[Answer] = []
    thread = Thread(target=lambda: answers.append(other.push(push(0, dense(pieces, np.ones(3)), client="other"))))
    thread.start()
    outcome = link.push(sent).outcome
    while outcome is Outcome.WAITING:  # the other is late on a busy machine
        outcome = link.push(sent).outcome
    assert outcome.counted
    thread.join()
    assert answers[0].outcome is Outcome.APPLIED


def test_pushes_to_shards_of_one_process_go_together(served: Served) -> None:
    served.start(Sync(2), memories=tuple(HeapMemory() for _ in range(3)))
    clients = [[served.link(shard) for shard in range(3)] for _ in range(2)]
    pieces = [create(link, 3_000, name=f"w{shard}") for shard, link in enumerate(clients[0])]
    assert len({link.process for links in clients for link in links}) == 1
    answers: list[list[Answer]] = []

    def work(client: str, links: list[SameMachineLink], unknown: int) -> None:
        for link in links:
            link.hello(client, 0)
        parts = [dense(pieces[shard], np.ones(3_000)) for shard in range(3)]
        sent = [(link, push(0, parts[shard], client=client)) for shard, link in enumerate(links)]
        answers.append(links[0].push_together(sent))

    threads = [Thread(target=work, args=(str(number), links, number)) for number, links in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[Answer(Outcome.APPLIED, 1)] * 3] * 2
    for shard, link in enumerate(clients[1]):
        assert link.pull([f"w{shard}@0"]).parts[f"w{shard}@0"][0] == -RATE


def test_a_push_in_a_batch_is_refused_alone(served: Served) -> None:
    served.start(memories=(HeapMemory(), HeapMemory()))
    links = [served.link(0), served.link(1)]
    for link in links:
        link.hello("me", 0)
        create(link, 2)
    bad = Part("w@0", np.array([np.nan, 1], np.float32))
    good = Part("w@0", np.ones(2, np.float32))
    answers = links[0].push_together([(links[0], push(0, [bad])), (links[1], push(0, [good]))])
    assert [answer.outcome for answer in answers] == [Outcome.NOT_FINITE, Outcome.APPLIED]
    assert "not finite" in answers[0].reason


@pytest.mark.parametrize(
    ("spoil", "outcome"),
    [
        (lambda part: Part("other@0", part.values), Outcome.UNKNOWN_NAME),
        (lambda part: Part(part.key, part.values[:-1]), Outcome.WRONG_SHAPE),
        (lambda part: Part(part.key, part.values.astype(np.float64)), Outcome.WRONG_DTYPE),
        (lambda part: Part(part.key, part.values.astype(np.float16)), Outcome.WRONG_DTYPE),
        (lambda part: Part(part.key, part.values.astype(np.complex64)), Outcome.WRONG_DTYPE),
        (lambda part: Part(part.key, part.values * np.float32(np.inf)), Outcome.NOT_FINITE),
        (lambda part: Part(part.key, np.tile(part.values, 40)), Outcome.TOO_LARGE),
        (lambda part: Part(part.key, part.values, np.array([-1])), Outcome.WRONG_SHAPE),
    ],
)
@pytest.mark.parametrize("size", [10, 30_000, 300_000])
def test_a_bad_push_changes_nothing_and_is_counted(
    served: Served, spoil: Callable[[Part], Part], outcome: Outcome, size: int
) -> None:
    served.start()
    link = served.link()
    link.hello("me", 0)
    pieces = create(link, size)
    before = link.pull(["w@0"]).parts["w@0"].tolist()
    if size < 30_000 and outcome is Outcome.TOO_LARGE:
        outcome = Outcome.WRONG_SHAPE  # for what is small is never too large
    answer = link.push(push(0, [spoil(part) for part in dense(pieces, np.ones(size))]))
    assert answer.outcome is outcome
    assert answer.reason
    assert link.statistics().pushes[outcome] == 1
    assert link.pull(["w@0"]).parts["w@0"].tolist() == before
    assert link.push(push(0, dense(pieces, np.ones(size)))) == Answer(Outcome.APPLIED, 1)


def test_a_link_finds_the_process_that_takes_over(served: Served) -> None:
    """It sends the same push again, which counts once; what it has mapped is still the shard's."""
    served.start()
    link = served.link()
    link.hello("me", 0)
    pieces = create(link, 300_000)
    sent = push(0, dense(pieces, np.ones(300_000)))
    assert link.push(sent).outcome is Outcome.APPLIED
    assert link.pull(["w@0"]).version == 1
    served.stop()
    assert link.pull(["w@0"]).version == 1
    restart = Timer(0.2, served.start)
    restart.start()
    assert link.hello("me", 0).number == 1
    assert link.push(sent) == Answer(Outcome.DUPLICATE, 1, "it was counted before")
    assert link.push(push(1, dense(pieces, np.ones(300_000)))).version == 2
    assert link.pull(["w@0"]).version == 2
    restart.join()


@pytest.mark.parametrize("taken", [False, True])
def test_a_push_that_was_begun_is_sent_again_where_the_connection_ends(
    served: Served, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """Whether the shard has counted it already, or has not even read it."""
    served.start()
    link = served.link()
    link.hello("me", 0)
    pieces = create(link, 30_000)
    assert link.push(push(0, dense(pieces, np.ones(30_000)))).version == 1
    hear = SameMachineListener._hear

    def cut_off(listener: SameMachineListener, caller: Caller) -> None:
        monkeypatch.undo()
        if taken:
            monkeypatch.setattr(Caller, "send", lambda *_: None)
            hear(listener, caller)
            monkeypatch.undo()
        caller.gone = True

    monkeypatch.setattr(SameMachineListener, "_hear", cut_off)
    end = link.begin_together([(link, push(1, dense(pieces, np.ones(30_000))))])
    assert end is not None
    (answer,) = end()
    assert (answer.outcome, answer.version) == (Outcome.DUPLICATE if taken else Outcome.APPLIED, 2)
    assert link.pull(["w@0"]).version == 2


def test_pushes_that_were_begun_are_answered_in_any_order_or_given_up_in_time(served: Served) -> None:
    served.start()
    links = [served.link(seconds=0.5), served.link()]
    pieces = create(links[0], 10)
    for client, link in enumerate(links):
        link.hello(str(client), 0)
    ends = [
        link.begin_together([(link, push(0, dense(pieces, np.ones(10)), client=str(client)))])
        for client, link in enumerate(links)
    ]
    assert ends[0] is not None
    assert ends[1] is not None
    assert [answer.outcome for answer in ends[1]()] == [Outcome.APPLIED]
    assert [answer.outcome for answer in ends[0]()] == [Outcome.APPLIED]
    with served.shards[0].lock:
        end = links[0].begin_together([(links[0], push(1, dense(pieces, np.ones(10)), client="0"))])
        assert end is not None
        with pytest.raises(UnreachableError, match=r"did not answer within 0.5 s"):
            end()


def test_all_clients_that_come_at_once_are_let_in_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in a turn, the last would wait for as many turns, each of which answers everybody who is inside."""
    accept, accepted = SameMachineListener._accept, list[int]()

    def counted(listener: SameMachineListener) -> None:
        before = len(listener._callers)
        accept(listener)
        accepted.append(len(listener._callers) - before)

    served.start()
    link = served.link()
    link.hello("me", 0)
    monkeypatch.setattr(SameMachineListener, "_accept", counted)
    with ExitStack() as stack:
        with served.shards[0].lock:
            waiting = Thread(target=link.hello, args=("me", 0))
            waiting.start()
            time.sleep(0.2)  # the listener waits for the lock, or these come a bit earlier
            for _ in range(50):
                connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(str(served.folder / "socket"))
        waiting.join()
        limit = time.monotonic() + 30
        while sum(accepted) < 50 and time.monotonic() < limit:
            time.sleep(0.01)
        assert max(accepted) > 1
        assert sum(accepted) == 50


def test_who_cannot_be_reached_is_given_up_in_time(served: Served) -> None:
    link = served.link(seconds=0.3)
    before = time.monotonic()
    with pytest.raises(UnreachableError, match=r"did not answer within 0.3 s"):
        link.hello("me", 0)
    assert time.monotonic() - before < 10


def test_a_client_hears_an_answer_while_it_fills_the_ring(served: Served) -> None:
    """A push that is refused at once is not copied to its end, nor waited for."""
    served.start()
    link = served.link(seconds=5)
    link.hello("me", 0)
    pieces = create(link, 4_000_000)
    sent = push(0, dense(pieces, np.ones(4_000_000)), table=7)
    assert link.push(sent).outcome is Outcome.MOVED


def test_looking_for_an_answer_does_not_wait_for_one(tmp_path: Path) -> None:
    """Else the shard would find that the client stands still."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        before = time.monotonic()
        connection = Connection(tmp_path / "socket", before + 20)
        assert not connection.answered()
        assert time.monotonic() < before + 10
        listening.accept()[0].close()
        assert connection.answered()
        connection.close()


def test_a_hundred_clients_need_one_thread(served: Served) -> None:
    served.start()
    links = [served.link() for _ in range(100)]
    create(links[0], 10)
    threads = active_count()
    for number, link in enumerate(links):
        link.hello(str(number), 0)
        sent = [Part("w@0", np.ones(10, np.float32))]
        assert link.push(push(0, sent, client=str(number))).version == number + 1
    assert active_count() == threads
    assert links[0].pull(["w@0"]).parts["w@0"][0] == -100 * RATE


def test_pulls_are_never_torn_while_pushes_come(served: Served) -> None:
    """Every element is what it was at first, less as many steps as the version says, in all pieces."""
    served.start()
    writer, reader = served.link(), served.link()
    writer.hello("me", 0)
    pieces = create(writer, 2_500_000)
    keys = [piece.key for piece in pieces]
    first = reader.pull(keys)
    done: list[bool] = []

    def write() -> None:
        parts = dense(pieces, np.ones(2_500_000))
        for number in range(12):
            assert writer.push(push(number, parts)).outcome is Outcome.APPLIED
        done.append(True)

    thread = Thread(target=write)
    thread.start()
    into = {key: np.empty_like(part) for key, part in first.parts.items()}
    versions = []
    while not done:
        pulled = reader.pull(keys, None, into)
        steps = np.concatenate([(first.parts[key] - pulled.parts[key])[::10_007] for key in keys])
        assert np.abs(steps - RATE * pulled.version).max() < 1e-4
        versions.append(pulled.version)
    thread.join()
    assert versions == sorted(versions)
