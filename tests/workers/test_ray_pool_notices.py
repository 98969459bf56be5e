"""What a pool on Ray says when it has no slot, and what it does about workers that die as they start; without Ray."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError, RuntimeEnvSetupError

from workers.errors import UserError
from workers.plugins import Spec
from workers.pool import Event, Notice, Slots
from workers.pools.allowance import Allowance, Unlimited
from workers.pools.footing import LATELY, Footing
from workers.pools.leased import Leased
from workers.pools.lookout import Lookout, Sight, Silence
from workers.pools.nodes import Cluster, Node
from workers.pools.ray import Ray
from workers.pools.reason import in_a_line
from workers.pools.starts import HOPELESS, LONGEST, PAUSE, TOLD, Starts
from workers.pools.waiting import PATIENCE, START, Lack, Waiting, lack
from workers.setup import Setup

SHARE = {"CPU": 1.0, "GPU": 0.0}
DEATH = ActorDiedError(
    RayTaskError("Actor.__init__", 'said\n  File "x.py", line 1\nModuleNotFoundError: none', OSError())
)


@given(st.lists(st.floats(0.1, 30.0), min_size=1, max_size=60), st.integers(1, 5))
def test_who_always_dies_is_tried_ever_more_seldom_and_people_hear_of_it_once(waits: list[float], slots: int) -> None:
    starts, told, hired, tried = Starts(), list[str](), 0, list[float]()
    starts.rose()  # somewhere else, so that nothing ends
    for now in accumulate(waits):
        if hired:
            told += [text for _ in range(hired) if (text := starts.died("no torch", now, 1))]
            tried.append(now)
        hired = starts.allowed(slots, now)
        assert hired in (0, slots)
    assert len(told) == (len(tried) >= TOLD)
    assert all("no torch" in text for text in told)
    pauses = [after - before for before, after in pairwise(tried)]
    assert all(pause >= min(LONGEST, PAUSE * 2**i) for i, pause in enumerate(pauses))


def test_workers_that_were_up_and_new_room_do_not_wait_for_those_that_die_as_they_start() -> None:
    starts = Starts()
    assert starts.allowed(5, 0.0) == 5
    for _ in range(2):
        starts.died("no torch", 10.0, 3)
    assert starts.allowed(2, 10.0 + PAUSE / 2) == 0
    assert starts.allowed(3, 10.0 + PAUSE / 2) == 1, "one that was up has died"
    assert starts.allowed(2, 10.0 + PAUSE) == 2


def test_the_search_ends_where_every_worker_dies_and_none_was_ever_up() -> None:
    def die(starts: Starts, others: int = 0) -> float:
        now = 0.0
        for _ in range(HOPELESS):
            assert starts.allowed(1, now) == 1
            starts.died("ModuleNotFoundError: no torch", now, others)
            now += LONGEST
        return now

    with pytest.raises(
        UserError, match=r"6 died as they started, in 6 tries, the last one so: ModuleNotFoundError: no"
    ):
        die(Starts())
    die(Starts(), others=1)  # which may be about to come up
    begun = Starts()
    begun.rose()
    now = die(begun)
    assert begun.settle() == "", "none is up again"
    assert begun.allowed(1, now) == 1
    begun.rose()
    assert begun.settle() == "workers start on the Ray cluster again"
    assert begun.settle() == ""
    assert begun.allowed(1, now) == 1
    begun.died("again", now, 1)
    assert begun.allowed(1, now + PAUSE) == 1, "the pauses begin anew"


def test_each_reason_is_said_once_and_the_end_of_it_too() -> None:
    waiting, none, refused = Waiting(), Lack("no node"), Lack("no broker", "GetTimeoutError: 1")
    assert waiting.goes_on(none, 100.0) == ""
    assert waiting.goes_on(none, 100.0 + PATIENCE) == "no trial can run, and the search waits: no node"
    assert waiting.goes_on(none, 200.0) == ""
    assert waiting.goes_on(refused, 201.0) == "", "a node has joined, and what it offers is not granted yet"
    said = waiting.goes_on(refused, 201.0 + PATIENCE)
    assert said == "no trial can run, and the search waits: no broker (GetTimeoutError: 1)"
    assert waiting.goes_on(Lack("no broker", "GetTimeoutError: 2"), 220.0) == ""
    assert waiting.goes_on(none, 221.0) == waiting.goes_on(none, 240.0) == ""
    assert waiting.over(245.0) == "there is a slot again, after 145 s without"
    assert waiting.over(246.0) == ""
    assert waiting.goes_on(none, 300.0) == "", "a slot that comes and goes is nothing to speak of"
    assert waiting.over(301.0) == ""
    starting = Lack("they start", soon=True)
    assert waiting.goes_on(starting, 400.0) == waiting.goes_on(starting, 400.0 + START - 1) == ""
    assert waiting.goes_on(starting, 400.0 + START)


def test_why_there_is_no_slot() -> None:
    node = Node("a", "host", 1, {"CPU": 2.0})
    refused = Lack("no broker")
    assert "no node that can be used" in lack(Cluster(draining=frozenset("a")), SHARE, refused).why
    assert (
        "no node of the Ray cluster has 4 CPU and 0.5 GPU" in lack(Cluster((node,)), {"CPU": 4, "GPU": 0.5}, None).why
    )
    assert lack(Cluster((node,)), SHARE, refused) is refused
    assert lack(Cluster((node,)), SHARE, None).soon


def soon(look: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not look():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.005)


def test_a_broker_that_does_not_answer_is_told_from_one_that_has_nothing_to_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.pools.leased.PERIOD", 0.02)
    said: list[str | Exception] = [ConnectionError("the head is gone")]

    def ask(claim: str) -> str:
        if isinstance(said[-1], Exception):
            raise said[-1]
        return said[-1]

    leased = Leased("a", 1.0, None, ask, lambda: None)
    try:
        assert "no broker grants slots" in getattr(leased.lack(), "why", "")
        leased.granted(4, 4, 0, 0)
        soon(lambda: getattr(leased.lack(), "detail", "") == "ConnectionError: the head is gone")
        said.append(json.dumps({"granted": 0, "owed": 0.0}))
        soon(lambda: "other searches have all slots" in getattr(leased.lack(), "why", ""))
        said.append(json.dumps({"granted": 2, "owed": 0.0}))
        soon(lambda: leased.lack() is None)
        said.append(ConnectionError("the broker died"))
        assert leased.lack() is None, "what was granted holds"
    finally:
        leased.close()


def test_a_death_is_told_in_a_line() -> None:
    assert in_a_line(DEATH) == "ActorDiedError: ModuleNotFoundError: none"
    assert in_a_line(OutOfMemoryError("Killed:\n\tmany words\nmemory was 0.95GB / 1GB")) == (
        "OutOfMemoryError: Killed: memory was 0.95GB / 1GB"
    )
    assert in_a_line(ActorDiedError()) == "ActorDiedError"
    assert len(in_a_line(RuntimeEnvSetupError("x" * 10_000))) < 400
    said = '\n[Node 10.0.0.7] Traceback (most recent call last):\n  File "a.py", line 1\nValueError: no conda.'
    assert in_a_line(RuntimeEnvSetupError(said)) == "RuntimeEnvSetupError on 10.0.0.7: ValueError: no conda"
    killed = OSError(
        "The actor died unexpectedly before finishing this task.\n\tclass_name: Actor\n\tip: ::1\nIts worker has died. "
        f"End of file. Some causes include: {'many. ' * 99}\nThe actor never ran - it was cancelled before."
    )
    assert in_a_line(killed).startswith(
        "OSError on ::1: Its worker has died. End of file. Some causes include: many. many"
    )
    assert in_a_line(killed).endswith(". many")


class Desk:
    """Stands for a cluster: the pool's footing in it, and the actors there."""

    def __init__(self) -> None:
        self.cluster = Cluster((Node("a", "host", 1, {"CPU": 2.0}),))
        self.allowance: Allowance = Unlimited()
        self.reachable = True
        self.hired: list[Any] = []
        self.answers: list[tuple[Any, Any]] = []

    def hires(self, now: float) -> bool:
        return self.reachable

    def abandoned(self, now: float) -> bool:
        return False

    def demand(self, slots: int, share: object) -> None: ...

    def leave(self) -> None: ...


class Actor:
    """Every call is a reference of its own; the last one is what the pool asks first to know that it is up."""

    def __getattr__(self, name: str) -> Actor:
        return self

    def remote(self, *_: object) -> object:
        self.last = object()
        return self.last


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()

    def hire(*_: object) -> Actor:
        made.hired.append(Actor())
        return made.hired[-1]  # type: ignore[no-any-return]

    def arrived(*_: object) -> list[tuple[Any, Any]]:
        answers, made.answers = made.answers, []
        return answers

    monkeypatch.setattr("workers.pools.ray.Footing", lambda *_: made)
    monkeypatch.setattr("workers.pools.slots.hire", hire)
    monkeypatch.setattr("workers.pools.ray.arrived", arrived)
    monkeypatch.setattr("workers.pools.ray.ray.kill", lambda _: None)
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("workers.pools.ray.time.monotonic", lambda: now[0])
    return now


def test_a_pool_whose_workers_die_as_they_start_says_so_and_ends(desk: Desk, clock: list[float]) -> None:
    pool, events = Ray(Setup("s", Spec("x:y"))), list[Event]()

    def live() -> None:
        while clock[0] < 2000.0:
            events.extend(pool.wait())
            desk.answers, desk.hired = [(actor.last, DEATH) for actor in desk.hired], []
            clock[0] += 1.0

    with pytest.raises(UserError, match="no worker comes up on the Ray cluster: 12 died as they started, in 6 tries"):
        live()
    assert clock[0] > 1000.0 + 31
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert "workers die on the Ray cluster as they start: 5 so far, the last one so: ActorDiedError: Mod" in notice.text


def test_a_pool_without_nodes_says_so_and_when_that_is_over(desk: Desk, clock: list[float]) -> None:
    there, desk.cluster = desk.cluster, Cluster()
    pool, events = Ray(Setup("s", Spec("x:y"))), list[Event]()
    for _ in range(100):
        events += pool.wait()
        clock[0] += 1.0
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "no trial can run, and the search waits: the Ray cluster has no node that can be used"
    ]
    desk.cluster, events = there, []
    pool.wait()
    desk.answers = [(actor.last, "") for actor in desk.hired]
    for _ in range(3):
        events += pool.wait()
        clock[0] += 1.0
    assert [event for event in events if isinstance(event, Slots)][-1] == Slots(2)
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "there is a slot again, after 101 s without"
    ]


def test_a_head_that_is_gone_is_not_asked_for_workers(desk: Desk, clock: list[float]) -> None:
    """Ray would have the driver wait for a minute, and end it."""
    desk.reachable = False
    pool = Ray(Setup("s", Spec("x:y")))
    pool.wait()
    assert not desk.hired
    desk.reachable = True
    clock[0] += 1.0
    pool.wait()
    assert len(desk.hired) == 2


def test_a_head_is_knocked_at_before_it_is_asked_for_workers() -> None:
    """It may have died since the last look, together with the worker that is to be replaced."""
    now = time.monotonic()
    lookout, footing = object.__new__(Lookout), object.__new__(Footing)
    vars(footing).update(_lookout=lookout)
    with socket.create_server(("127.0.0.1", 0)) as head:
        vars(lookout).update(_head=head.getsockname(), sight=Sight(Cluster(), now), _silence=Silence(now))
        assert footing.hires(now)
        assert not footing.hires(now + LATELY + 1), "it listens, and was not heard for long"
    assert not footing.hires(now)


def test_nothing_is_asked_of_a_cluster_that_is_gone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """To kill an actor that is not yet known to its head is to wait for that head."""
    pool = Ray(Setup("s", Spec("x:y")))
    pool.wait(0.0)
    first, desk.hired = desk.hired, []
    monkeypatch.setattr("workers.pools.ray.ray.kill", lambda _: pytest.fail("the head is dead"))
    monkeypatch.setattr("workers.pools.ray.SURVEY", 0.0)
    vars(pool).update(_next_survey=0.0)
    monkeypatch.setattr(desk, "abandoned", lambda _: True)
    said = [event.text for event in pool.wait(0.0) if isinstance(event, Notice)]
    assert said == ["a process of the Ray cluster on this machine died: begun anew, and what ran is issued again"]
    assert (len(first), len(desk.hired)) == (2, 2)
