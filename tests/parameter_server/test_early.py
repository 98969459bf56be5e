"""Pushes that step while they come in are the pushes that they would be otherwise, whatever happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pytest

from parameter_server.link import Answer, Part, Push
from parameter_server.listeners.early import LARGE
from parameter_server.listeners.servicer import Servicer
from parameter_server.messages.translation import push_messages
from parameter_server.optimizers import Momentum
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Async, Bounded, Group, Mode, Policy
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard
from parameter_server.store import PushId

SIZE = LARGE // 2  # elements of the larger piece: several messages
PIECES = [Piece("large", (SIZE,), "float32", 0, SIZE), Piece("small", (3,), "float64", 0, 3)]
Event: TypeAlias = Callable[["Served"], object]


class Served:
    """A shard that two clients know, and what it says to pushes that come in as messages."""

    def __init__(self, mode: Mode | None = None) -> None:
        policy = Policy((Group(Momentum(0.5)),), mode=mode or Async(), scaled_by_staleness=True)
        self.shard = Shard(0, 1, HeapMemory(), policy, clock=time.monotonic)
        self.servicer = Servicer([self.shard], lambda _: "")
        with self.shard.lock:
            self.shard.create(PIECES, [np.ones(SIZE, np.float32), np.ones(3)])
            for client in ("me", "other"):
                self.shard.hello(client, 0)

    def receive(self, push: Push, meanwhile: Event = lambda _: None) -> Answer:
        """The answer to a push, after whose first numbers something else happens."""

        def coming() -> Iterator[bytes]:
            for number, message in enumerate(push_messages(0, push)):
                if number == 2:
                    meanwhile(self)
                yield message

        context: Any = None  # nobody looks at it unless the push waits
        answer = self.servicer.push(coming(), context)
        return Answer(Outcome(answer.outcome), answer.version, answer.reason)

    def apply(self, push: Push) -> Answer:
        """The answer to a push that is there at once."""
        with self.shard.lock:
            answer = self.shard.push(push)
        assert isinstance(answer, Answer)
        return answer

    def numbers(self) -> list[bytes]:
        memory = self.shard.memory
        return [buffer.tobytes() for place in range(len(memory.pieces)) for buffer in memory.front(place)]


def some(client: str = "me", number: int = 0, table: int = 1, wrong: int | None = None) -> Push:
    """Gradients that differ between pushes, with an element that is no number."""
    gradient = np.random.default_rng([len(client), number]).standard_normal(SIZE, np.float32)
    if wrong is not None:
        gradient[wrong] = np.nan
    parts = [Part(PIECES[0].key, gradient), Part(PIECES[1].key, np.arange(3.0))]
    return Push(PushId(client, number), 0, table, parts, scale=0.5)


def another(served: Served) -> None:
    assert served.apply(some("other")).outcome is Outcome.APPLIED


def another_coming_in(served: Served) -> None:
    assert served.receive(some("other")).outcome is Outcome.APPLIED


def another_refused(served: Served) -> None:
    assert served.receive(some("other", wrong=SIZE - 1)).outcome is Outcome.NOT_FINITE


def another_empty(served: Served) -> None:
    for number in range(2):
        assert served.apply(Push(PushId("other", number), 0, 1, ())).outcome is Outcome.APPLIED


def creation(served: Served) -> None:
    with served.shard.lock:
        served.shard.create([Piece("new", (2,), "float32", 0, 2)], [np.ones(2, np.float32)])


def itself(served: Served) -> None:
    assert served.apply(some()).outcome is Outcome.APPLIED


EVENTS: list[Event] = [lambda _: None, another, another_coming_in, another_refused, another_empty, creation, itself]


@pytest.mark.parametrize("event", EVENTS)
def test_what_happens_while_a_push_comes_in_might_have_happened_before(event: Event) -> None:
    early, late = Served(), Served()
    answer = early.receive(some(), event)
    event(late)
    assert answer == late.apply(some())
    assert early.numbers() == late.numbers()
    assert early.shard.statistics.pushes == late.shard.statistics.pushes
    table = early.shard.state.table
    assert early.receive(some(number=1, table=table)) == late.apply(some(number=1, table=table))
    assert early.numbers() == late.numbers()


@pytest.mark.parametrize("wrong", [3, SIZE - 1])
def test_a_push_that_is_not_finite_changes_nothing(wrong: int) -> None:
    served = Served()
    before = served.numbers()
    assert served.receive(some(wrong=wrong)).outcome is Outcome.NOT_FINITE
    assert served.numbers() == before


def test_a_push_of_who_holds_no_lease_changes_nothing() -> None:
    served = Served()
    before = served.numbers()
    assert served.receive(some("stranger")).outcome is Outcome.UNKNOWN_CLIENT
    assert served.numbers() == before


def test_a_push_that_breaks_off_changes_nothing() -> None:
    served = Served()
    before, context = served.numbers(), None
    messages = list(push_messages(0, some()))
    answer = served.servicer.push(iter(messages[:-1]), context)  # type: ignore[arg-type]
    assert answer.outcome == Outcome.TRUNCATED
    assert served.numbers() == before
    assert served.receive(some()).outcome is Outcome.APPLIED
    assert served.shard.statistics.bytes_in == sum(part.values.nbytes for part in some().parts)


def test_one_that_is_too_far_ahead_is_refused_though_it_was_stepped() -> None:
    served = Served(Bounded(0, beyond="reject"))
    assert served.receive(some(), another).outcome is Outcome.STALE


def test_numbers_step_before_the_last_have_come() -> None:
    served = Served()
    back = served.shard.memory.back(0)[0]
    before = back[0].copy()
    seen: list[bool] = []
    served.receive(some(), lambda one: seen.append(bool(one.shard.memory.back(0)[0][0] != before)))
    assert seen == [True]
