"""Bounded staleness: who is too far ahead waits, whose parameters are too old is refused; and steps by staleness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shards import Bench

from parameter_server.link import Answer
from parameter_server.optimizers import SGD, Adam
from parameter_server.outcome import Outcome
from parameter_server.policy import Bounded, Group, Policy
from parameter_server.shards.ticket import Ticket


def bounded(staleness: int, *, reject: bool = False, in_flight: int = 256) -> Bench:
    mode = Bounded(staleness, "reject" if reject else "block")
    return Bench(Policy((Group(SGD(1.0)),), mode, in_flight=in_flight)).create(a=[0.0])


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_a_push_waits_while_its_client_is_too_far_ahead(staleness: int) -> None:
    bench = bounded(staleness).join("fast", "slow")
    for _ in range(staleness + 1):
        assert bench.outcome("fast", a=[1.0]) is Outcome.APPLIED
    assert bench.outcome("fast", a=[1.0]) is None
    assert bench.settled() == {}
    assert bench.outcome("slow", a=[1.0]) is Outcome.APPLIED
    assert bench.settled() == {"fast": "applied"}
    assert bench.values() == {"a": [-(staleness + 3.0)]}


def test_who_is_slow_never_waits() -> None:
    bench = bounded(0).join("fast", "slow")
    assert bench.outcome("fast", a=[1.0]) is Outcome.APPLIED
    assert bench.outcome("fast", a=[1.0]) is None
    for _ in range(3):
        assert bench.outcome("slow", a=[1.0]) is not None or bench.settled()


def test_a_lapsed_lease_frees_the_clock() -> None:
    bench = bounded(1).join("fast", "gone")
    bench.now = 5.0
    for _ in range(2):
        bench.outcome("fast", a=[1.0])
    assert bench.outcome("fast", a=[1.0]) is None
    bench.now = 9.9
    assert bench.settled() == {}
    bench.now = 10.0
    assert bench.settled() == {"fast": "applied"}
    assert bench.shard.statistics.leases_lapsed == 1


def test_who_leaves_is_not_waited_for() -> None:
    bench = bounded(0).join("fast", "gone")
    bench.outcome("fast", a=[1.0])
    assert bench.outcome("fast", a=[1.0]) is None
    bench.shard.leave("gone", 0)
    assert bench.settled() == {"fast": "applied"}


def test_nobody_waits_at_once_for_who_joins_late() -> None:
    bench = bounded(2).join("fast")
    for _ in range(50):
        assert bench.outcome("fast", a=[1.0]) is Outcome.APPLIED
    bench.join("new")
    assert bench.outcome("fast", a=[1.0]) is Outcome.APPLIED
    assert bench.outcome("fast", a=[1.0]) is None
    assert bench.outcome("new", a=[1.0]) is Outcome.APPLIED
    assert bench.settled() == {"fast": "applied"}


def test_clocks_go_on_after_a_restart() -> None:
    bench = bounded(3).join("fast", "slow")
    for _ in range(4):
        assert bench.outcome("fast", a=[1.0]) is Outcome.APPLIED
    bench.restarted()
    bench.join("fast", "slow")
    assert bench.outcome("fast", a=[1.0]) is None
    assert bench.outcome("slow", a=[1.0]) is Outcome.APPLIED
    assert bench.settled() == {"fast": "applied"}


def test_what_waits_and_comes_again_is_applied_once() -> None:
    bench = bounded(0).join("fast", "slow")
    bench.outcome("fast", a=[1.0])
    push = bench.made("fast", a=[1.0])
    first = bench.shard.push(push)
    assert isinstance(first, Ticket)
    bench.shard.leave("slow", 0)  # nobody has looked for settled tickets yet
    answer = bench.shard.push(push)
    assert isinstance(answer, Answer)
    assert answer.outcome is Outcome.APPLIED
    assert first.answer == answer
    assert bench.values() == {"a": [-2.0]}


def test_who_gives_up_waiting_is_not_applied() -> None:
    bench = bounded(0).join("fast", "slow")
    bench.outcome("fast", a=[1.0])
    ticket = bench.push("fast", a=[1.0])
    assert isinstance(ticket, Ticket)
    assert bench.shard.give_up(ticket).outcome is Outcome.WAITING
    bench.outcome("slow", a=[1.0])
    assert bench.settled() == {}
    assert bench.values() == {"a": [-2.0]}


def test_no_more_wait_than_may_be_in_flight() -> None:
    bench = bounded(0, in_flight=1).join("x", "y", "slow")
    assert [bench.outcome(client, a=[1.0]) for client in ("x", "y", "x", "y")] == [
        Outcome.APPLIED,
        Outcome.APPLIED,
        None,
        Outcome.BUSY,
    ]
    assert bench.shard.statistics.queue == 1


def test_parameters_that_are_too_old_are_refused() -> None:
    bench = bounded(2, reject=True).join("x", "y")
    for _ in range(3):
        bench.outcome("x", a=[1.0])
    before = bench.everything()
    answer = bench.push("y", base=0, a=[100.0])
    assert isinstance(answer, Answer)
    assert (answer.outcome, answer.version) == (Outcome.STALE, 3)
    assert "there were 3 updates since its parameters, and at most 2 may be" in answer.reason
    assert bench.everything() == before
    assert bench.outcome("y", number=0, base=1, a=[1.0]) is Outcome.APPLIED


def test_parameters_of_a_lost_future_are_too_old() -> None:
    bench = bounded(2, reject=True).join("x")
    for _ in range(3):
        bench.outcome("x", a=[1.0])
    bench.memory.book.reincarnate()
    bench.memory.commit(())
    assert bench.memory.book.version == 2**40 + 3
    assert bench.outcome("x", base=3, a=[1.0]) is Outcome.STALE
    assert bench.outcome("x", base=2**40 + 2, a=[1.0]) is Outcome.APPLIED
    assert bench.shard.pull(["a@0"], newer_than=9).parts  # whatever was seen before


@given(st.integers(0, 3), st.lists(st.sampled_from("abcd"), max_size=60))
@settings(deadline=None)
def test_nobody_is_ever_further_ahead_than_allowed(staleness: int, order: list[str]) -> None:
    bench = bounded(staleness).join(*"abcd")
    waits: set[str] = set()
    counted = dict.fromkeys("abcd", 0)
    for client in order:
        if client not in waits:
            answer = bench.push(client, a=[1.0])
            waits |= {client} if isinstance(answer, Ticket) else set()
            counted[client] += isinstance(answer, Answer)
        for settled in bench.settled():
            waits.remove(settled)
            counted[settled] += 1
        clocks = counted.values()
        assert max(clocks) - min(clocks) <= staleness + 1
        assert all(counted[client] - min(clocks) > staleness for client in waits)
    assert bench.values() == {"a": [-float(sum(counted.values()))]}


@pytest.mark.parametrize(("base", "share"), [(4, 1), (3, 1), (2, 1 / 2), (0, 1 / 4)])
def test_a_step_is_shorter_the_older_its_parameters(base: int, share: float) -> None:
    bench = Bench(Policy((Group(SGD(1.0)),), scaled_by_staleness=True)).create(a=[0.0]).join("x", "y")
    for _ in range(4):
        bench.outcome("x", a=[0.0])
    bench.outcome("y", base=base, a=[1.0])
    assert bench.values() == {"a": [-share]}


def test_staleness_shortens_the_step_and_not_the_gradient() -> None:
    bench = Bench(Policy((Group(Adam(0.1)),), scaled_by_staleness=True)).create(a=[0.0], b=[0.0]).join("x", "y")
    for _ in range(2):
        bench.outcome("x", b=[1.0])
    bench.outcome("y", base=0, a=[7.0])
    np.testing.assert_allclose(bench.values()["a"], [-0.05])
    assert bench.memory.front(0)[1].tolist() == pytest.approx([0.7])


def test_staleness_is_counted() -> None:
    bench = Bench().create(a=[0.0]).join("x")
    for base in (0, 0, 0):
        bench.outcome("x", base=base, a=[1.0])
    assert bench.shard.statistics.staleness.total == 0 + 1 + 2
