"""A shard in this process, with real threads that wait on it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import numpy as np
import pytest
from shards import whole

from parameter_server.link import Part, Push
from parameter_server.links.direct import DirectLink
from parameter_server.optimizers import SGD
from parameter_server.outcome import Outcome
from parameter_server.policy import Async, Bounded, Group, Mode, Policy, Sync
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard
from parameter_server.store import PushId, StoreError


def linked(mode: Mode, seconds: float = 60.0, lease: float = 60.0) -> DirectLink:
    shard = Shard(0, 1, HeapMemory(), Policy((Group(SGD(1.0)),), mode, lease=lease), clock=monotonic)
    link = DirectLink(shard, seconds)
    link.create([whole("a", np.zeros(2))], [np.zeros(2)])
    return link


def made(client: str, number: int, base: int, value: float = 1.0) -> Push:
    return Push(PushId(client, number), base, 1, [Part("a@0", np.full(2, value))])


def test_threads_meet_in_rounds() -> None:
    link = linked(Sync(4))
    clients = [f"client {number}" for number in range(4)]

    def work(client: str) -> list[int]:
        link.hello(client, 0)
        versions = []
        for number in range(20):
            answer = link.push(made(client, number, number))
            assert answer.outcome is Outcome.APPLIED
            versions.append(answer.version)
        return versions

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, clients)) == [list(range(1, 21))] * 4
    assert link.pull(["a@0"]).parts["a@0"].tolist() == [-20.0, -20.0]
    assert link.statistics().pushes["applied"] == 80


def test_two_links_to_a_shard_see_the_same_answers() -> None:
    link = linked(Sync(2))
    other = DirectLink(link.shard)
    for client in "xy":
        link.hello(client, 0)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(link.push, made("x", 0, 0, 2.0))
        second = other.push(made("y", 0, 0, 4.0))
        assert first.result() == second
    assert link.pull(["a@0"]).parts["a@0"].tolist() == [-3.0, -3.0]


def test_a_wait_ends_with_the_time_of_a_call() -> None:
    link = linked(Sync(2), seconds=0.2)
    link.hello("x", 0)
    link.hello("y", 0)
    assert link.push(made("x", 0, 0)).outcome is Outcome.WAITING
    assert link.statistics().queue == 0


def test_a_wait_ends_when_a_lease_lapses() -> None:
    link = linked(Bounded(0), lease=0.5)
    link.hello("x", 0)
    link.hello("gone", 0)
    assert link.push(made("x", 0, 0)).outcome is Outcome.APPLIED
    assert link.push(made("x", 1, 0)).outcome is Outcome.APPLIED
    assert link.statistics().leases_lapsed == 1


def test_what_was_pulled_stays_as_it_was_and_goes_where_it_is_wanted() -> None:
    link = linked(Async())
    link.hello("x", 0)
    place = np.empty(2)
    before = link.pull(["a@0"])
    for number in range(3):
        link.push(made("x", number, 0))
    assert before.parts["a@0"].tolist() == [0.0, 0.0]
    pulled = link.pull(["a@0"], into={"a@0": place})
    assert pulled.parts["a@0"] is place
    assert (place.tolist(), pulled.version, pulled.table) == ([-3.0, -3.0], 3, 1)
    assert link.pull(["a@0"], newer_than=3).parts == {}


def test_a_shard_in_this_process_writes_no_snapshot() -> None:
    with pytest.raises(StoreError, match="writes no snapshots"):
        linked(Async()).snapshot()


def test_a_lease_is_given_up() -> None:
    link = linked(Async())
    link.beat("x", 0)
    assert link.statistics().clients == 1
    link.leave("x", 0)
    assert link.push(made("x", 0, 0)).outcome is Outcome.UNKNOWN_CLIENT
