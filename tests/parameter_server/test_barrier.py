"""Synchronous stores: the barrier, its mean, who is late, and who is no longer waited for."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from shards import Bench

from parameter_server.link import Answer, Part, Push
from parameter_server.optimizers import SGD, Adam
from parameter_server.outcome import Outcome
from parameter_server.policy import Group, Policy, Sync
from parameter_server.shards.ticket import Ticket
from parameter_server.store import PushId


def synchronous(workers: int, backup: int = 0, in_flight: int = 256) -> Bench:
    return Bench(Policy((Group(SGD(1.0)),), Sync(workers, backup), in_flight=in_flight)).create(a=[0.0, 0.0])


def test_a_round_is_one_step_against_the_mean() -> None:
    bench = synchronous(3).join("x", "y", "z")
    assert bench.outcome("x", a=[3.0, 0.0]) is None
    assert bench.outcome("y", a=[0.0, 6.0]) is None
    assert bench.shard.settled() == []
    assert bench.values() == {"a": [0.0, 0.0]}
    assert bench.outcome("z", a=[3.0, 0.0]) is Outcome.APPLIED
    assert bench.settled() == {"x": "applied", "y": "applied"}
    assert bench.values() == {"a": [-2.0, -2.0]}
    assert bench.memory.book.version == 1
    assert bench.shard.statistics.pushes["applied"] == 3


def test_every_push_of_a_round_is_known_by_the_same_version() -> None:
    bench = synchronous(2).join("x", "y")
    for client in "xy":
        bench.outcome(client, a=[1.0, 1.0])
    for client in "xy":
        again = bench.push(client, number=0, base=0, a=[1.0, 1.0])
        assert isinstance(again, Answer)
        assert (again.outcome, again.version) == (Outcome.DUPLICATE, 1)


def test_the_step_does_not_depend_on_who_was_first() -> None:
    gradients = dict(zip("vwxyz", np.random.default_rng(1).normal(size=(5, 1000)) * 1e8, strict=True))
    seen = set()
    for order in list(permutations("vwxyz"))[::7]:
        bench = Bench(Policy((Group(Adam(0.1)),), Sync(5))).create(a=np.zeros(1000)).join(*order)
        for client in order:
            bench.outcome(client, a=gradients[client])
        seen.add(np.array(bench.values()["a"]).tobytes())
    assert len(seen) == 1


def test_backup_workers_make_the_slowest_late() -> None:
    bench = synchronous(2, backup=1).join("x", "y", "z")
    assert bench.outcome("z", a=[2.0, 2.0]) is None
    assert bench.outcome("x", a=[4.0, 4.0]) is Outcome.APPLIED
    assert bench.outcome("y", base=0, a=[9.0, 9.0]) is Outcome.LATE
    assert bench.values() == {"a": [-3.0, -3.0]}
    assert bench.outcome("y", number=0, a=[1.0, 1.0]) is None  # the number is free: it was not counted
    assert bench.outcome("x", a=[1.0, 1.0]) is Outcome.APPLIED


def test_a_lapsed_lease_frees_the_place_in_a_round() -> None:
    bench = synchronous(3).join("x", "y", "z")
    bench.now = 8.0
    assert bench.outcome("x", a=[2.0, 0.0]) is None
    assert bench.outcome("y", a=[4.0, 0.0]) is None
    bench.now = 9.99
    assert bench.settled() == {}
    bench.now = 10.0
    assert bench.settled() == {"x": "applied", "y": "applied"}
    assert bench.values() == {"a": [-3.0, 0.0]}
    assert bench.shard.statistics.leases_lapsed == 1
    assert bench.shard.statistics.clients == 2


def test_who_waits_at_the_barrier_keeps_the_lease() -> None:
    bench = synchronous(2).join("x", "y")
    assert bench.outcome("x", a=[2.0, 0.0]) is None
    for _ in range(4):
        bench.now += 6
        bench.shard.beat("y", 0)
    assert bench.settled() == {}
    assert bench.outcome("y", a=[2.0, 0.0]) is Outcome.APPLIED
    assert bench.settled() == {"x": "applied"}


def test_who_leaves_is_not_waited_for() -> None:
    bench = synchronous(2).join("x", "y")
    assert bench.outcome("x", a=[2.0, 0.0]) is None
    bench.shard.leave("y", 0)
    assert bench.settled() == {"x": "applied"}


def test_a_round_waits_for_those_who_have_not_joined_yet() -> None:
    bench = synchronous(3).join("x")
    assert bench.outcome("x", a=[2.0, 0.0]) is None
    bench.now = 9.0
    bench.join("y")
    assert bench.outcome("y", a=[2.0, 0.0]) is None
    assert bench.settled() == {}
    bench.now = 10.0
    assert bench.settled() == {"x": "applied", "y": "applied"}


def test_a_worker_that_comes_later_has_a_place() -> None:
    bench = synchronous(3).join("x")
    bench.now = 10.0
    assert bench.join("x").outcome("x", a=[1.0, 0.0]) is Outcome.APPLIED
    bench.join("y")
    assert bench.outcome("x", a=[1.0, 0.0]) is None
    assert bench.outcome("y", a=[1.0, 0.0]) is Outcome.APPLIED


def test_a_push_that_is_sent_again_has_one_place_and_two_answers() -> None:
    bench = synchronous(2).join("x", "y")
    push = bench.made("x", a=[2.0, 0.0])
    first, second = bench.shard.push(push), bench.shard.push(push)
    assert isinstance(first, Ticket)
    assert isinstance(second, Ticket)
    assert bench.outcome("y", a=[4.0, 0.0]) is Outcome.APPLIED
    assert [ticket for ticket, _ in bench.shard.settled()] == [first, second]
    assert first.answer == second.answer
    assert bench.values() == {"a": [-3.0, 0.0]}


def test_a_client_has_one_place_in_a_round() -> None:
    bench = synchronous(2).join("x", "y")
    assert bench.outcome("x", a=[2.0, 0.0]) is None
    assert bench.outcome("x", a=[2.0, 0.0]) is Outcome.BUSY


def test_who_gives_up_is_withdrawn() -> None:
    bench = synchronous(2).join("x", "y")
    ticket = bench.push("x", number=0, a=[2.0, 0.0])
    assert isinstance(ticket, Ticket)
    assert bench.shard.give_up(ticket).outcome is Outcome.WAITING
    assert bench.shard.statistics.queue == 0
    assert bench.outcome("y", a=[4.0, 0.0]) is None
    assert bench.outcome("x", number=0, a=[2.0, 0.0]) is Outcome.APPLIED
    assert bench.values() == {"a": [-3.0, 0.0]}


def test_who_gives_up_just_too_late_has_the_answer() -> None:
    bench = synchronous(2).join("x", "y")
    ticket = bench.push("x", a=[2.0, 0.0])
    assert isinstance(ticket, Ticket)
    bench.outcome("y", a=[4.0, 0.0])
    assert bench.shard.give_up(ticket).outcome is Outcome.APPLIED


def test_another_attempt_takes_the_place_over() -> None:
    bench = synchronous(2).join("x", "y")
    assert bench.outcome("x", number=0, a=[100.0, 0.0]) is None
    bench.shard.hello("x", 1)
    assert bench.settled() == {"x": "fenced"}
    made = bench.made("x", number=0, a=[2.0, 0.0])
    assert isinstance(bench.shard.push(Push(PushId("x", 0, 1), 0, made.table, made.parts)), Ticket)
    assert bench.outcome("y", a=[4.0, 0.0]) is Outcome.APPLIED
    assert bench.values() == {"a": [-3.0, 0.0]}


def test_gradients_belong_to_the_round_once_they_were_sent() -> None:
    bench = synchronous(2).join("x", "y")
    mine = np.array([2.0, 0.0])
    assert bench.outcome("x", a=mine) is None
    mine[:] = 1e9
    bench.outcome("y", a=[4.0, 0.0])
    assert bench.values() == {"a": [-3.0, 0.0]}


def test_a_gradient_that_is_not_finite_takes_no_place() -> None:
    bench = synchronous(2).join("x", "y")
    assert bench.outcome("x", a=[np.nan, 0.0]) is Outcome.NOT_FINITE
    assert bench.shard.statistics.queue == 0


def test_a_round_whose_sum_overflows_changes_nothing() -> None:
    bench = synchronous(2).join("x", "y")
    before = bench.everything()
    assert bench.outcome("x", a=[1.7e308, 0.0]) is None
    assert bench.outcome("y", a=[1.7e308, 0.0]) is Outcome.NOT_FINITE
    assert bench.settled() == {"x": "not_finite"}
    assert bench.everything() == before


def test_who_has_no_gradient_for_a_tensor_counts_as_zero() -> None:
    bench = synchronous(2).create(b=[0.0]).join("x", "y")
    assert bench.outcome("x", a=[2.0, 0.0], b=[8.0]) is None
    assert bench.outcome("y", a=[4.0, 0.0]) is Outcome.APPLIED
    assert bench.values() == {"a": [-3.0, 0.0], "b": [-4.0]}
    bench.outcome("x")
    assert bench.outcome("y") is Outcome.APPLIED  # a round of nothing is a round
    assert bench.memory.book.version == 2
    assert bench.memory.book.pieces["changed"].tolist() == [1, 1]


def test_rows_of_several_add_up_with_rows_and_with_whole_gradients() -> None:
    bench = Bench(Policy((Group(SGD(1.0)),), Sync(3))).create(e=np.zeros((4, 2)), f=np.zeros((4, 2)))
    bench.join("x", "y", "z")
    table = bench.shard.state.table
    rows = {"x": [0, 2], "y": [2, 3], "z": [2]}
    for client, its in rows.items():
        part = Part("e@0", np.full((len(its), 2), 3.0), np.array(its))
        other = Part("f@0", np.full(8, 6.0)) if client == "z" else Part("f@0", np.full((1, 2), 3.0), np.array([1]))
        bench.shard.push(Push(PushId(client, 0), 0, table, [part, other]))
    assert bench.values() == {"e": [-1, -1, 0, 0, -3, -3, -1, -1], "f": [-2, -2, -4, -4, -2, -2, -2, -2]}


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_the_scale_of_a_push_is_in_its_share_of_the_mean(scale: float) -> None:
    bench = synchronous(2).join("x", "y")
    made = bench.made("x", a=[2.0, 0.0])
    bench.shard.push(Push(made.id, made.base, made.table, made.parts, scale))
    bench.outcome("y", a=[4.0, 0.0])
    assert bench.values()["a"][0] == -(2 * scale + 4) / 2


def test_after_a_restart_a_round_begins_again() -> None:
    bench = synchronous(2).join("x", "y")
    assert bench.outcome("x", number=0, a=[2.0, 0.0]) is None
    bench.restarted()
    assert bench.outcome("x", number=0, a=[2.0, 0.0]) is Outcome.UNKNOWN_CLIENT
    bench.join("x", "y")
    assert bench.outcome("x", number=0, a=[2.0, 0.0]) is None
    assert bench.outcome("y", a=[4.0, 0.0]) is Outcome.APPLIED
    assert bench.values() == {"a": [-3.0, 0.0]}
