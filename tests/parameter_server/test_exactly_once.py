"""A shard among clients that repeat, overtake, restart and die: every push is counted once, or never."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from shards import Bench

from parameter_server.link import Answer, Part, Push
from parameter_server.optimizers import Adam, Sum
from parameter_server.outcome import Outcome
from parameter_server.policy import Async, Bounded, Group, Mode, Policy, Sync
from parameter_server.shards.ticket import Ticket
from parameter_server.store import WINDOW, FencedError, PushId

CLIENTS = st.sampled_from("xyz")
NUMBERS = st.integers(0, 12)


@settings(deadline=None)
@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=30))
def test_pushes_count_once_in_any_order_and_repetition(order: list[int], repeats: list[int]) -> None:
    bench = Bench(Policy((Group(Sum()),))).create(a=np.zeros(12)).join("me")
    for number in [*order, *repeats]:
        bench.push("me", number=number, a=np.eye(12)[number])
    assert bench.values() == {"a": [1.0] * 12}
    assert bench.memory.book.version == 12


class Crowd(RuleBasedStateMachine):
    """Clients of one shard; each push adds 1 to an element of its own, so that the sum says what was counted."""

    mode: Mode = Async()

    def __init__(self) -> None:
        super().__init__()
        groups = Group(Sum(), "a"), Group(Adam(0.1), "b*")
        self.bench = Bench(Policy(groups, self.mode, lease=10.0)).create(a=np.zeros(39), b=[0.0])
        self.attempts: dict[str, int] = {}
        self.waiting: dict[Ticket, tuple[str, int]] = {}
        self.acknowledged: dict[tuple[str, int], int] = {}
        self.version = 0

    def sent(self, client: str, number: int, base: int, value: float = 1.0) -> Push:
        gradient = np.zeros(39)
        gradient["xyz".index(client) * 13 + number] = value
        table = self.bench.shard.state.table
        parts = [Part("a@0", gradient), Part("b@0", np.ones(1))]
        return Push(PushId(client, number, self.attempts.get(client, 0)), base, table, parts)

    def heard(self, key: tuple[str, int], answer: Answer) -> None:
        if not answer.outcome.counted:
            assert key not in self.acknowledged or answer.outcome in (Outcome.FENCED, Outcome.UNKNOWN_CLIENT)
            return
        if answer.outcome is Outcome.APPLIED and key in self.acknowledged:
            assert self.acknowledged[key] == answer.version
        self.acknowledged.setdefault(key, answer.version)

    @rule(client=CLIENTS)
    def hello(self, client: str) -> None:
        self.bench.shard.hello(client, self.attempts.get(client, 0))

    @rule(client=CLIENTS)
    def come_again(self, client: str) -> None:
        before = self.attempts.get(client, 0)
        self.attempts[client] = before + 1
        self.bench.shard.hello(client, before + 1)
        try:
            self.bench.shard.beat(client, before)
        except FencedError:
            return
        raise AssertionError("the attempt before was not fenced")

    @rule(client=CLIENTS)
    def leave(self, client: str) -> None:
        self.bench.shard.leave(client, self.attempts.get(client, 0))

    @rule(seconds=st.sampled_from([0.5, 6.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.bench.now += seconds

    @rule(client=CLIENTS, number=NUMBERS, age=st.integers(0, 3))
    def push(self, client: str, number: int, age: int) -> None:
        push = self.sent(client, number, max(self.bench.memory.book.version - age, 0))
        answer = self.bench.shard.push(push)
        if isinstance(answer, Ticket):
            self.waiting[answer] = (client, number)
        else:
            self.heard((client, number), answer)

    @rule(client=CLIENTS, number=NUMBERS)
    def push_nonsense(self, client: str, number: int) -> None:
        before = self.bench.everything()
        push = self.sent(client, number, self.bench.memory.book.version, value=np.nan)
        answer = self.bench.shard.push(push)
        if isinstance(answer, Ticket):  # the same push with numbers waits
            assert (client, number) in self.waiting.values()
            answer = self.bench.shard.give_up(answer)
        assert answer.outcome is not Outcome.APPLIED
        assert self.bench.everything() == before

    @rule()
    def look(self) -> None:
        for ticket, answer in self.bench.shard.settled():
            self.heard(self.waiting.pop(ticket), answer)

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        if self.waiting:
            ticket = data.draw(st.sampled_from(list(self.waiting)))
            self.heard(self.waiting[ticket], self.bench.shard.give_up(ticket))
            if ticket.answer is None:
                del self.waiting[ticket]

    @rule()
    def restart(self) -> None:
        for ticket, key in self.waiting.items():
            if ticket.answer is not None:
                self.heard(key, ticket.answer)
        self.waiting.clear()
        self.bench.restarted()

    @rule()
    def create(self) -> None:
        number = len(self.bench.memory.pieces)
        if number < 5:
            self.bench.create(**{f"b{number}": [1.0]})

    @invariant()
    def everything_acknowledged_is_there_once(self) -> None:
        counts = np.array(self.bench.values()["a"])
        assert (counts >= 0).all()
        present = {(client, number) for client in "xyz" for number in range(13) if counts[self.place(client, number)]}
        assert set(self.acknowledged) <= present
        if not isinstance(self.mode, Sync):
            assert set(counts) <= {0.0, 1.0}

    @invariant()
    def versions_never_fall(self) -> None:
        assert self.bench.memory.book.version >= self.version
        self.version = self.bench.memory.book.version
        assert all(version <= self.version for version in self.acknowledged.values())
        assert self.bench.memory.book.sound()

    def place(self, client: str, number: int) -> int:
        return "xyz".index(client) * 13 + number


class Rounds(Crowd):
    mode = Sync(2, backup=1)

    @invariant()
    def every_round_adds_one(self) -> None:
        total = sum(self.bench.values()["a"])
        np.testing.assert_allclose(total, self.bench.memory.book.version)


class Held(Crowd):
    mode = Bounded(1)


class Refused(Crowd):
    mode = Bounded(1, "reject")


def crowded(kind: Any) -> None:
    run_state_machine_as_test(kind, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


def test_nothing_is_lost_or_counted_twice_among_many() -> None:
    crowded(Crowd)


def test_nothing_is_lost_or_counted_twice_in_rounds() -> None:
    crowded(Rounds)


def test_nothing_is_lost_or_counted_twice_under_a_bound() -> None:
    crowded(Held)


def test_nothing_is_lost_or_counted_twice_where_old_parameters_are_refused() -> None:
    crowded(Refused)


def test_the_window_is_as_wide_as_promised() -> None:
    bench = Bench(Policy((Group(Sum()),))).create(a=[0.0]).join("me")
    for number in (WINDOW, 1, 0, WINDOW):
        bench.push("me", number=number, a=[1.0])
    assert bench.values() == {"a": [2.0]}  # 0 is too far back to be told from one that was counted
