"""Answers that cross: of attempts that end as they are asked about, or as they are late; without a cluster."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, cast

import pytest
from ray.exceptions import GetTimeoutError, RayTaskError

from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pools.actor import LAST_WISH
from workers.pools.ray import Ray
from workers.pools.running import Running
from workers.pools.slots import Slot
from workers.setup import Setup
from workers.trial import Attempt, Result, Trial


class Remote:
    """Stands for the methods of an actor: every call is a reference of its own."""

    def __getattr__(self, name: str) -> Remote:
        return self

    def options(self, **_: object) -> Remote:
        return self

    def remote(self, *_: object) -> object:
        return object()


def pool_of(*slots: Slot) -> Ray:
    """A pool with these slots, as far as it hears answers."""
    pool, busy = object.__new__(Ray), sum(len(slot.queue) for slot in slots)
    vars(pool).update(_slots=list(slots), _places=deque(), _awaited={}, _busy=busy, _events=[], _depth=2)
    vars(pool).update(_next_survey=0.0)
    return pool


def slot_with(*attempts: Attempt) -> Slot:
    slot: Any = object.__new__(Slot)
    slot.actor, slot.leaving, slot.up, slot.asked = Remote(), False, True, None
    slot.queue = {object(): Running(attempt, 0.0) for attempt in attempts}
    return cast("Slot", slot)


def test_what_follows_an_attempt_that_took_too_much_is_not_charged_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.pools.ray.ray.kill", lambda _: None)
    first, second = (Attempt(Trial(number, Candidate({}))) for number in range(2))
    slot = slot_with(first, second)
    pool = pool_of(slot)
    slot.asked = question = slot.ask()
    answer = RayTaskError("progress", "", MemoryError("it held 2 GB, and its worker's limit is 1 GB"))
    ended = Result(0, 1, Outcome.INFEASIBLE, error="out of memory")
    pool._hear(slot, next(iter(slot.queue)), json.dumps(ended.json()))
    pool._hear(slot, question, answer)
    assert [one for one in pool._events if isinstance(one, Result)] == [ended]
    assert (slot.head and slot.head.attempt, pool.busy, slot.asked) == (second, 1, None)
    slot.asked = question = slot.ask()
    pool._hear(slot, question, answer)
    results = [one for one in pool._events if isinstance(one, Result)]
    assert [(one.trial_id, one.outcome) for one in results] == [(0, Outcome.INFEASIBLE), (1, Outcome.INFEASIBLE)]
    assert (pool.busy, pool._slots) == (0, [])


@pytest.mark.parametrize(("ended", "results"), [(True, []), (False, [Outcome.FAILED])])
def test_what_ended_while_the_driver_was_busy_is_not_late(
    ended: bool, results: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit may wait for a server for two minutes, and attempts end within their limit meanwhile."""
    monkeypatch.setattr("workers.pools.ray.ray.kill", lambda _: None)
    monkeypatch.setattr("workers.pools.ray.ray.get", lambda _, timeout: "[]")
    monkeypatch.setattr("workers.pools.ray.ray.wait", lambda some, **_: (some, []) if ended else ([], some))
    slot = slot_with(Attempt(Trial(0, Candidate({}))))
    pool = pool_of(slot)
    pool._end([(slot, 5.0)], 120.0)
    assert [one.outcome for one in pool._events if isinstance(one, Result)] == results
    assert (pool.busy, slot in pool._slots) == (len(slot.queue), ended)


def test_all_that_are_late_are_asked_at_once_and_the_deaf_cost_one_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred actors in a call into C are late together: the driver must not wait for them one after the other."""
    waits = list[float]()

    def wait(some: list[object], timeout: float, num_returns: int = 1) -> tuple[list[object], list[object]]:
        assert num_returns == len(some)
        waits.append(timeout)
        return [], some

    def get(_: object, timeout: float) -> str:
        waits.append(timeout)
        raise GetTimeoutError

    monkeypatch.setattr("workers.pools.ray.ray.kill", lambda _: None)
    monkeypatch.setattr("workers.pools.ray.ray.get", get)
    monkeypatch.setattr("workers.pools.ray.ray.wait", wait)
    slots = [slot_with(Attempt(Trial(number, Candidate({})))) for number in range(100)]
    pool = pool_of(*slots)
    vars(pool).update(_setup=Setup("s", Spec("x:y"), time_limit=5.0), _grace=5.0)
    pool._poll(120.0)
    assert sum(waits) == LAST_WISH
    results = [one for one in pool._events if isinstance(one, Result)]
    assert [one.outcome for one in results] == [Outcome.FAILED] * 100
    assert (pool.busy, pool._slots) == (0, [])
