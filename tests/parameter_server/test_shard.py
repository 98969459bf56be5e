"""One shard: what it refuses, and that this changes nothing; attempts, epochs, leases, updates bit by bit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from shards import Bench, whole

from parameter_server.link import Answer, Part, Push
from parameter_server.optimizers import SGD, Adam
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Async, Bounded, Group, Mode, Policy, Sync
from parameter_server.shards.recorder import Recorder
from parameter_server.shards.shard import Application, Heading, Shard
from parameter_server.store import FencedError, PushId, StoreError

MODES: dict[str, Mode] = {"async": Async(), "sync": Sync(1), "block": Bounded(3), "reject": Bounded(3, "reject")}


def some(mode: str = "async") -> Bench:
    bench = Bench(Policy((Group(Adam(0.1)),), MODES[mode]))
    bench.create(a=[1.0, 2.0], e=np.ones((4, 2)))
    bench.join("me", "old")
    bench.shard.hello("old", 3)
    bench.outcome("me", number=0, a=[1.0, 1.0], e=np.ones((4, 2)))
    return bench


def part(values: Any, key: str = "a@0", rows: Any = None, dtype: str = "float64") -> Part:
    return Part(key, np.asarray(values, dtype), None if rows is None else np.asarray(rows))


GOOD: dict[str, Any] = {"id": PushId("me", 1), "base": 1, "table": 1, "parts": [part([1, 1])], "scale": 1.0}

WRONG: dict[str, tuple[dict[str, Any], Outcome, str]] = {
    "a client that is unknown": ({"id": PushId("you", 0)}, Outcome.UNKNOWN_CLIENT, "you is not known.*say hello"),
    "an attempt that is unknown": ({"id": PushId("me", 1, 1)}, Outcome.UNKNOWN_CLIENT, "attempt 1 of me.*say hello"),
    "an attempt that was replaced": ({"id": PushId("old", 0, 2)}, Outcome.FENCED, "attempt 3 of old has taken over"),
    "a negative number": ({"id": PushId("me", -1)}, Outcome.FROM_THE_FUTURE, "push -1 of attempt 0"),
    "a number too large to count on": ({"id": PushId("me", 2**62)}, Outcome.FROM_THE_FUTURE, "below 2"),
    "another table": ({"table": 2}, Outcome.MOVED, "table 2 of pieces is not that of the shard, 1: say hello"),
    "a version from the future": ({"base": 2}, Outcome.FROM_THE_FUTURE, "from version 2, but the shard is at 1"),
    "a negative version": ({"base": -1}, Outcome.FROM_THE_FUTURE, "from version -1"),
    "a scale that is no number": ({"scale": float("nan")}, Outcome.NOT_FINITE, "scaled by nan"),
    "a scale that grows": ({"scale": 1.5}, Outcome.NOT_FINITE, "scaled by 1.5"),
    "an unknown piece": ({"parts": [part([1, 1]), part([1], "z@0")]}, Outcome.UNKNOWN_NAME, "no piece 'z@0' here"),
    "a piece twice": ({"parts": [part([1, 1]), part([1, 1])]}, Outcome.WRONG_SHAPE, "twice"),
    "too many elements": ({"parts": [part([1, 1, 1])]}, Outcome.WRONG_SHAPE, r"shape \(2,\).* 3 elements.*have 2"),
    "no elements": ({"parts": [part([])]}, Outcome.WRONG_SHAPE, "0 elements"),
    "another type": ({"parts": [part([1, 1], dtype="float32")]}, Outcome.WRONG_DTYPE, "is float32, but.*float64"),
    "another order of bytes": ({"parts": [part([1, 1], dtype=">f8")]}, Outcome.WRONG_DTYPE, ">f8"),
    "not a number": ({"parts": [part(np.ones((4, 2)), "e@0"), part([1, np.nan])]}, Outcome.NOT_FINITE, "of a is not"),
    "infinity": ({"parts": [part([-np.inf, np.inf])]}, Outcome.NOT_FINITE, "leave out the batch"),
    "rows that are no integers": ({"parts": [part([1, 1], "e@0", [1.0])]}, Outcome.WRONG_DTYPE, "must be integers"),
    "rows below the first": ({"parts": [part([1, 1], "e@0", [-1])]}, Outcome.WRONG_SHAPE, "rows from 0 to before 4"),
    "rows after the last": ({"parts": [part([1, 1], "e@0", [4])]}, Outcome.WRONG_SHAPE, "rows from 0 to before 4"),
    "rows twice": ({"parts": [part([1] * 4, "e@0", [2, 2])]}, Outcome.WRONG_SHAPE, "must ascend"),
    "rows that descend": ({"parts": [part([1] * 4, "e@0", [2, 1])]}, Outcome.WRONG_SHAPE, "must ascend"),
    "too few elements of rows": ({"parts": [part([1, 1], "e@0", [1, 2])]}, Outcome.WRONG_SHAPE, "2 elements.*have 4"),
    "rows that are not finite": ({"parts": [part([1, np.inf], "e@0", [1])]}, Outcome.NOT_FINITE, "of e is not"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused_and_changes_nothing(wrong: str, mode: str) -> None:
    bench = some(mode)
    change, outcome, reason = WRONG[wrong]
    before, counted = bench.everything(), bench.shard.statistics.pushes[outcome]
    answer = bench.shard.push(Push(**{**GOOD, **change}))
    assert isinstance(answer, Answer)
    assert (answer.outcome, answer.version) == (outcome, 1)
    assert re.search(reason, answer.reason), answer.reason
    assert bench.everything() == before
    assert bench.shard.statistics.pushes[outcome] == counted + 1
    good = bench.shard.push(Push(**GOOD))
    assert isinstance(good, Answer)
    assert (good.outcome, good.version) == (Outcome.APPLIED, 2)


def test_large_finite_gradients_are_no_error() -> None:
    bench = Bench(Policy((Group(SGD(0.0)),)))
    bench.shard.create([whole("a", np.ones(2, np.float32))], [np.ones(2, np.float32)])
    bench.join("me")
    answer = bench.shard.push(Push(PushId("me", 0), 0, 1, [part([3e38, -3e38], dtype="float32")]))
    assert isinstance(answer, Answer)
    assert answer.outcome is Outcome.APPLIED


@pytest.mark.parametrize(
    ("piece", "values", "message"),
    [
        (Piece("b", (1,), "int64", 0, 1), np.ones(1, np.int64), "b is int64, but tensors are float32 or float64"),
        (Piece("b", (1,), "float32", 0, 1), np.ones(1), "b is float64"),
        (Piece("b", (2,), "float64", 0, 2), np.ones(1), "b@0 has 1 elements, not 2"),
        (Piece("b", (1,), "float64", 0, 1), np.full(1, np.nan), "b is not finite"),
    ],
)
def test_a_piece_that_cannot_be_is_not_created(piece: Piece, values: Any, message: str) -> None:
    bench = some()
    before = bench.everything()
    with pytest.raises(StoreError, match=message):
        bench.shard.create([whole("c", np.ones(1)), piece], [np.ones(1), values])
    assert bench.everything() == before


def test_the_first_to_create_a_piece_wins() -> None:
    bench = some()
    pieces = [whole("a", np.zeros(2)), whole("b", np.zeros(1)), whole("b", np.zeros(1))]
    assert bench.shard.create(pieces, [np.zeros(2), np.zeros(1), np.ones(1)]) == ("b@0",)
    assert bench.values()["a"] != [0.0, 0.0]
    assert bench.values()["b"] == [0.0]
    assert bench.shard.create(pieces, [np.zeros(2), np.ones(1), np.ones(1)]) == ()
    assert bench.shard.hello("", 0).table == 2


def test_a_pull_gives_what_changed_and_knows_its_names() -> None:
    bench = some()
    bench.outcome("me", number=1, a=[1.0, 1.0])
    assert list(bench.shard.pull(["a@0", "e@0"], newer_than=0).parts) == ["a@0", "e@0"]
    assert list(bench.shard.pull(["a@0", "e@0"], newer_than=1).parts) == ["a@0"]
    assert bench.shard.pull(["e@0", "a@0"], newer_than=2).parts == {}
    with pytest.raises(ValueError, match="read-only"):
        bench.shard.pull(["a@0"]).parts["a@0"][0] = 1
    with pytest.raises(StoreError, match="no piece 'z@0'"):
        bench.shard.pull(["a@0", "z@0"])


def test_a_push_that_was_counted_is_known_by_its_version() -> None:
    bench = Bench().create(a=[0.0]).join("me")
    for number in range(10):
        bench.outcome("me", number=number, a=[1.0])
    versions = {}
    for number in range(10):
        answer = bench.push("me", number=number, a=[1.0])
        assert isinstance(answer, Answer)
        assert answer.outcome is Outcome.DUPLICATE
        versions[number] = answer.version
    assert versions == {0: 10, 1: 10, **{number: number + 1 for number in range(2, 10)}}
    assert bench.values() == {"a": [-10.0]}


def test_what_was_counted_is_known_after_a_restart() -> None:
    bench = Bench().create(a=[0.0]).join("me")
    bench.outcome("me", number=0, a=[1.0])
    bench.restarted()
    assert bench.outcome("me", number=0, a=[1.0]) is Outcome.DUPLICATE
    assert bench.outcome("me", number=1, a=[1.0]) is Outcome.UNKNOWN_CLIENT
    assert bench.shard.hello("me", 0).number == 1
    assert bench.outcome("me", number=1, a=[1.0]) is Outcome.APPLIED


def test_another_attempt_fences_the_one_before_for_good() -> None:
    bench = Bench().create(a=[0.0]).join("me")
    bench.outcome("me", number=0, a=[1.0])
    assert bench.shard.hello("me", 2).number == 1
    for call in (bench.shard.hello, bench.shard.beat, bench.shard.leave):
        with pytest.raises(FencedError, match="attempt 2 of me has taken over from attempt 1"):
            call("me", 1)
    bench.restarted()
    with pytest.raises(FencedError):
        bench.shard.hello("me", 1)
    assert bench.outcome("me", number=1, a=[1.0]) is Outcome.FENCED
    bench.shard.hello("me", 2)
    again = bench.made("me", number=0, a=[1.0])
    answer = bench.shard.push(Push(PushId("me", 0, 2), 0, again.table, again.parts))
    assert isinstance(answer, Answer)
    assert answer.outcome is Outcome.DUPLICATE  # the same numbers are the same pushes in every attempt


def test_the_driver_of_an_earlier_epoch_is_fenced() -> None:
    bench = Bench()
    bench.shard.epoch(3)
    bench.shard.epoch(3)
    bench.restarted()
    with pytest.raises(FencedError, match="epoch 3 has taken over from that of epoch 2"):
        bench.shard.epoch(2)


@pytest.mark.parametrize("name", ["x" * 97, "ü" * 49, "a\0b"])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    bench = Bench()
    before = bench.everything()
    with pytest.raises(StoreError, match="names have 1 to 96 bytes"):
        bench.shard.hello(name, 0)
    assert bench.everything() == before


def test_attempts_are_numbered_from_0() -> None:
    with pytest.raises(StoreError, match="attempt -1 of me: attempts are numbered from 0"):
        Bench().shard.hello("me", -1)


def test_a_lease_lapses_and_every_call_renews_it() -> None:
    bench = Bench().create(a=[0.0]).join("me", "gone")
    bench.now = 9.0
    bench.shard.beat("me", 0)
    bench.now = 18.0
    assert bench.outcome("me", number=0, a=[1.0]) is Outcome.APPLIED
    assert bench.outcome("gone", number=0, a=[1.0]) is Outcome.UNKNOWN_CLIENT
    bench.now = 27.9
    assert bench.outcome("me", number=0, a=[1.0]) is Outcome.DUPLICATE
    bench.now = 37.8
    assert bench.outcome("me", number=1, a=[1.0]) is Outcome.APPLIED
    bench.now = 47.8
    assert bench.outcome("me", number=2, a=[1.0]) is Outcome.UNKNOWN_CLIENT
    assert bench.shard.statistics.leases_lapsed == 2
    bench.join("me")
    assert bench.outcome("me", number=2, a=[1.0]) is Outcome.APPLIED


def test_there_is_room_for_any_number_of_clients() -> None:
    bench = Bench().create(a=[0.0])
    clients = [f"client {number}" for number in range(100)]
    bench.join(*clients)
    for client in clients:
        assert bench.outcome(client, a=[1.0]) is Outcome.APPLIED
    bench.restarted()
    assert [bench.outcome(client, number=0, a=[1.0]) for client in clients] == [Outcome.DUPLICATE] * 100
    assert bench.values() == {"a": [-100.0]}
    assert bench.memory.book.sound()


def begun(bench: Bench, places: Sequence[int], number: int = 1, base: int = 1) -> Application:
    application = bench.shard.begin(Heading(PushId("me", number), base, 1, 1.0, tuple(places)))
    assert isinstance(application, Application)
    return application


def test_an_update_bit_by_bit_is_the_same_update() -> None:
    gradient, rows = np.array([3.0, -1.0]), np.arange(8.0)
    one, other = some(), some()
    one.outcome("me", number=1, a=gradient, e=rows)
    application = begun(other, (0, 1))
    assert all(
        application.chunk(place, start, values)
        for place, start, values in [(0, 1, gradient[1:]), (1, 0, rows[:3]), (0, 0, gradient[:1]), (1, 3, rows[3:])]
    )
    assert other.values() == some().values()
    answer = application.commit()
    assert (answer.outcome, answer.version) == (Outcome.APPLIED, 2)
    assert other.everything() == one.everything()


def test_an_update_that_is_aborted_changes_nothing() -> None:
    bench = some()
    before = bench.everything()
    application = begun(bench, (0,))
    application.chunk(0, 0, np.ones(2))
    assert application.abort(Outcome.CORRUPTED, "a chunk").outcome is Outcome.CORRUPTED
    assert bench.everything() == before
    assert bench.shard.statistics.pushes["corrupted"] == 1
    application = begun(bench, (0, 1))
    application.chunk(0, 0, np.ones(2))
    assert application.commit().outcome is Outcome.TRUNCATED
    application = begun(bench, (0,))
    assert not application.chunk(0, 0, np.array([1.0, np.nan]))
    assert application.commit().outcome is Outcome.NOT_FINITE
    assert bench.everything() == before


@pytest.mark.parametrize(
    ("heading", "outcome"),
    [
        (Heading(PushId("me", 0), 1, 1, 1.0, (0,)), Outcome.DUPLICATE),
        (Heading(PushId("me", 1), 2, 1, 1.0, (0,)), Outcome.FROM_THE_FUTURE),
        (Heading(PushId("me", 1), 1, 1, 1.0, (0, 0)), Outcome.WRONG_SHAPE),
        (Heading(PushId("me", 1), 1, 1, 1.0, (2,)), Outcome.UNKNOWN_NAME),
        (Heading(PushId("me", 1), 1, 1, 1.0, (-1,)), Outcome.UNKNOWN_NAME),
        (Heading(PushId("old", 1), 1, 1, 1.0, (0,)), Outcome.FENCED),
    ],
)
def test_an_update_that_cannot_be_does_not_begin(heading: Heading, outcome: Outcome) -> None:
    answer = some().shard.begin(heading)
    assert isinstance(answer, Answer)
    assert answer.outcome is outcome


def test_a_push_that_has_to_wait_or_be_recorded_is_to_be_sent_whole() -> None:
    heading = Heading(PushId("me", 1), 1, 1, 1.0, (0,))
    assert some("sync").shard.begin(heading) is None
    bench = Bench(Policy((Group(SGD(1.0)),), Bounded(0))).create(a=[0.0]).join("me", "slow")
    bench.outcome("me", number=0, a=[1.0])
    assert bench.shard.begin(heading) is None
    assert Bench(recorder=Tape()).create(a=[0.0]).join("me").shard.begin(heading) is None


class Tape(Recorder):
    """Remembers updates, as long as there is room."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.entries: list[tuple[int, list[Push]]] = []

    def record(self, version: int, pushes: Sequence[Push]) -> None:
        if len(self.entries) == self.room:
            raise OSError(28, "No space left on device")
        self.entries.append((version, list(pushes)))


def test_what_cannot_be_recorded_is_not_applied() -> None:
    bench = Bench(recorder=Tape(room=1)).create(a=[0.0]).join("me")
    assert bench.outcome("me", number=0, a=[1.0]) is Outcome.APPLIED
    before = bench.everything()
    answer = bench.push("me", number=1, a=[1.0])
    assert isinstance(answer, Answer)
    assert answer.outcome is Outcome.BUSY
    assert "No space left on device" in answer.reason
    assert bench.everything() == before


@pytest.mark.parametrize("mode", [Async(), Sync(2), Bounded(1)])
def test_recorded_updates_lead_to_the_same_numbers(mode: Async | Sync | Bounded) -> None:
    tape, generator = Tape(), np.random.default_rng(1)
    policy = Policy((Group(Adam(0.1), clip=0.5),), mode, scaled_by_staleness=True)
    bench = Bench(policy, tape).create(a=[0.0, 0.0], e=np.ones((4, 2))).join("x", "y")
    for number in range(6):
        for client in "xy":
            bench.outcome(client, number=number, a=generator.normal(size=2), e=generator.normal(size=(4, 2)))
            bench.shard.settled()
    other = Bench(policy, Tape(room=0)).create(a=[0.0, 0.0], e=np.ones((4, 2)))
    for version, pushes in tape.entries:
        assert other.shard.replay(version, pushes)
        assert not other.shard.replay(version, pushes)
    assert other.everything()[1] == bench.everything()[1]
    assert other.memory.book.version == bench.memory.book.version
    other.join("x", "y")
    assert other.outcome("x", number=5, a=[1.0, 1.0]) is Outcome.DUPLICATE
    with pytest.raises(StoreError, match=r"version 99 was recorded, but the numbers are those of version"):
        other.shard.replay(99, tape.entries[0][1])


def test_an_update_is_applied_where_it_was_not_counted() -> None:
    bench = Bench().create(a=[0.0], b=[0.0]).join("me")
    bench.memory.book.pieces["ledger"] = [0, 1]
    bench.memory.book.reread()
    bench.memory.commit(())
    shard = bench.restarted()
    shard.hello("me", 0)
    assert bench.outcome("me", number=0, a=[1.0]) is Outcome.APPLIED
    assert bench.outcome("me", number=0, a=[1.0], b=[1.0]) is Outcome.APPLIED
    assert bench.outcome("me", number=0, a=[1.0], b=[1.0]) is Outcome.DUPLICATE
    assert bench.values() == {"a": [-1.0], "b": [-1.0]}
    assert bench.outcome("me", number=1, b=[1.0]) is Outcome.APPLIED
    application = shard.begin(Heading(PushId("me", 1), 2, 1, 1.0, (0, 1)))
    assert isinstance(application, Application)
    assert application.chunk(0, 0, np.ones(1))
    assert application.chunk(1, 0, np.ones(1))
    assert application.commit().outcome is Outcome.APPLIED
    assert bench.values() == {"a": [-2.0], "b": [-2.0]}
    assert shard.hello("me", 0).number == 2


MOMENTS = ["before apply", "inside apply", "after apply", "after commit"]


class CrashError(Exception):
    """Stands for the death of the process."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_death_tears_nothing(moment: str) -> None:
    bench = some()
    before = bench.everything()

    def die(now: str) -> None:
        if now == moment:
            raise CrashError

    shard = Shard(0, 1, bench.memory, bench.policy, clock=lambda: bench.now, probe=die)
    shard.hello("me", 0)
    push = bench.made("me", number=1, a=[5.0, 5.0], e=np.ones((4, 2)))
    with pytest.raises(CrashError):
        shard.push(push)
    bench.restarted()
    assert (bench.everything() == before) == (moment != "after commit")
    bench.join("me")
    answer = bench.shard.push(push)
    assert isinstance(answer, Answer)
    assert answer.outcome is (Outcome.DUPLICATE if moment == "after commit" else Outcome.APPLIED)
    assert answer.version == 2


def test_moments_come_in_order() -> None:
    seen: list[str] = []
    note: Callable[[str], None] = seen.append
    bench = some()
    shard = Shard(0, 1, bench.memory, bench.policy, clock=lambda: 0.0, probe=note)
    shard.hello("me", 0)
    shard.push(bench.made("me", number=1, a=[5.0, 5.0], e=np.ones((4, 2))))
    assert seen == MOMENTS


def test_a_hello_is_made_durable_only_when_it_changes_something() -> None:
    bench = Bench().create(w=[0.0]).join("a")
    before = bench.memory.book.sequence
    bench.join("a")
    bench.now = 1e6  # the lease has lapsed
    bench.join("a")
    assert bench.memory.book.sequence == before
    bench.join("b")
    bench.shard.hello("a", 3)
    assert bench.memory.book.sequence == before + 2
    bench.restarted()
    with pytest.raises(FencedError):
        bench.shard.hello("a", 2)
