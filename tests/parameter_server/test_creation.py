"""Creating tensors on many shards: the first wins, whoever races, dies or comes back; nobody sees a mixture."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from threading import Barrier, Semaphore, Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unreliable import Calls, UnreliableLink, links_to, shards_of

from parameter_server.clients.client import ShardedStore
from parameter_server.optimizers import SGD
from parameter_server.policy import Group, Policy
from parameter_server.shards.shard import Shard
from parameter_server.store import PushId, StoreError, UnreachableError

POLICY = Policy((Group(SGD(1.0)),))
LONG = 600.0


class DeadError(BaseException):
    """A creator ends here, without another word."""


def of(value: float) -> dict[str, Any]:
    return {name: np.full(shape, float(value)) for name, shape in {"a": (6, 2), "b": 5, "c": (1, 40)}.items()}


def over(
    shards: list[Shard], takeover: float = LONG, through: Calls | None = None, threads: bool = False
) -> ShardedStore:
    links = [UnreliableLink(link, through) if through else link for link in links_to(shards)]
    return ShardedStore(links, takeover=takeover, threads=threads, patience=60)


def dying(after: int) -> Calls:
    """Ends its process before its (`after` + 1)-th message that creates, and does not even say so."""
    left = [after]

    def through(method: str, call: Callable[[], Any]) -> Any:
        if method == "create":
            if left[0] <= 0:
                raise DeadError
            left[0] -= 1
        return call()

    return through


def seen(store: ShardedStore) -> dict[str, set[float]]:
    return {name: set(value.reshape(-1).tolist()) for name, value in store.pull().tensors.items()}


def test_the_first_create_wins_on_every_shard() -> None:
    shards = shards_of(POLICY, 3)
    assert over(shards).create(of(1)) == ("a", "b", "c")
    assert over(shards).create({**of(2), "d": np.full(3, 2.0)}) == ("d",)
    assert seen(over(shards)) == {"a": {1.0}, "b": {1.0}, "c": {1.0}, "d": {2.0}}


@pytest.mark.parametrize("after", range(4))
def test_a_creator_that_dies_between_shards_leaves_nothing_behind_that_is_seen(after: int) -> None:
    shards = shards_of(POLICY, 3)
    with pytest.raises(DeadError):
        over(shards, through=dying(after)).create(of(1))
    assert seen(over(shards)) == {}
    with pytest.raises(StoreError, match="no tensor 'a'"):
        over(shards).push({"a": np.ones((6, 2))}, (0, 0, 0), PushId("me", 0))
    other = over(shards, takeover=0)
    assert other.create({"a": np.full((3, 7), 2.0), "c": np.full(4, 2.0)}) == ("a", "c")  # even if other shapes
    assert seen(other) == {"a": {2.0}, "c": {2.0}}
    assert other.create(of(3)) == ("b",)
    pushed = {"a": np.ones((3, 7)), "b": np.ones(5)}
    assert other.push(pushed, other.pull().version, PushId("me", 0)).counted
    assert seen(other) == {"a": {1.0}, "b": {2.0}, "c": {2.0}}


def test_a_creator_that_was_taken_for_dead_and_comes_back_changes_nothing() -> None:
    shards = shards_of(POLICY, 3)
    for pause in range(1, 4):
        name = f"t{pause}"
        left = [pause]
        winner: list[tuple[str, ...]] = []

        def overtake(method: str, call: Callable[[], Any], left: list[int] = left, name: str = name,
                     winner: list[tuple[str, ...]] = winner) -> Any:  # fmt: skip
            if method == "create":
                left[0] -= 1
                if left[0] == -1:  # just before the next message, another one is quicker with all of its own
                    winner.append(over(shards, takeover=0).create({name: np.full((5, 4), 2.0)}))
            return call()

        assert over(shards, through=overtake).create({name: np.full((9, 4), 1.0)}) == ()
        assert winner == [(name,)]
        pulled = over(shards).pull([name]).tensors[name]
        np.testing.assert_array_equal(pulled, np.full((5, 4), 2.0))


def test_a_creator_that_fails_lets_others_go_on_at_once() -> None:
    shards = shards_of(POLICY, 3)
    down = [True]

    def fail(method: str, call: Callable[[], Any]) -> Any:
        if method == "create" and down[0]:
            raise UnreachableError("the line is dead")
        return call()

    links = links_to(shards)
    broken = ShardedStore([links[0], UnreliableLink(links[1], fail), links[2]], takeover=LONG, threads=False)
    with pytest.raises(UnreachableError, match="the line is dead"):
        broken.create(of(1))
    down[0] = False
    assert broken.create(of(2)) == ("a", "b", "c")
    assert seen(over(shards)) == {"a": {2.0}, "b": {2.0}, "c": {2.0}}


@pytest.mark.parametrize("threads", [False, True])
def test_creators_that_race_agree_on_one_of_them_per_tensor(threads: bool) -> None:
    """While others pull: no tensor ever has numbers of two creators, nor changes."""
    shards = shards_of(POLICY, 4)
    creators = 6
    won: dict[str, int] = {}
    mixed: list[Any] = []
    together = Barrier(creators)

    def work(creator: int) -> None:
        store = over(shards, threads=threads)
        names = [f"t{number}" for number in range(8)]
        Random(creator).shuffle(names)
        together.wait()
        try:
            for some in (names[:3], names):
                mine = {name: np.full((creator + 2, 3), float(creator)) for name in some}
                for name in store.create(mine):
                    assert won.setdefault(name, creator) == creator
                pulled = store.pull().tensors.values()
                mixed.extend(one for one in pulled if len({*one.reshape(-1)}) != 1 or len(one) != one[0, 0] + 2)
        finally:
            store.close()

    workers = [Thread(target=work, args=(creator,)) for creator in range(creators)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not mixed
    pulled = over(shards).pull().tensors
    assert {name: float(value[0, 0]) for name, value in pulled.items()} == won
    assert len(won) == 8


class Stage:
    """Creators in threads of which one is on at a time: each waits before every message to a shard for its cue."""

    def __init__(self, shards: list[Shard], values: int) -> None:
        self.off = Semaphore(0)
        self.cues = [Semaphore(0) for _ in range(values)]
        self.doomed = [False] * values
        self.acting = list(range(values))
        self.actors = [Thread(target=self._act, args=(shards, number)) for number in range(values)]

    def __enter__(self) -> Stage:
        for actor in self.actors:
            actor.start()
        return self

    def __exit__(self, *error: object) -> None:
        while self.acting:
            self.cue(self.acting[0], fatal=True)
        for actor in self.actors:
            actor.join()

    def cue(self, number: int, fatal: bool) -> None:
        """Let one make its next message, or die before it."""
        self.doomed[number] = fatal
        self.cues[number].release()
        self.off.acquire()

    def _act(self, shards: list[Shard], number: int) -> None:
        def through(method: str, call: Callable[[], Any]) -> Any:
            self.off.release()
            self.cues[number].acquire()
            if self.doomed[number]:
                raise DeadError
            return call()

        self.cues[number].acquire()
        with suppress(DeadError, UnreachableError):
            over(shards, 0.0, through).create({"t": np.full((number + 2, 30), float(number))})
        self.acting.remove(number)
        self.off.release()


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(2, 4))
def test_in_whatever_order_messages_are_made_there_is_one_winner(seed: int, shard_count: int, count: int) -> None:
    """All take each other for dead at once, the worst that can be; some are."""
    shards, random = shards_of(POLICY, shard_count), Random(seed)
    first: dict[str, set[float]] = {}
    with Stage(shards, count) as stage:
        for _ in range(200):
            acting = stage.acting
            if not acting:
                break
            stage.cue(random.choice(acting), fatal=random.random() < 0.03)
            now = seen(over(shards))
            assert all(len(values) == 1 for values in now.values())
            assert not first or now == first
            first = now
    last = over(shards, takeover=0)
    first = seen(last)
    assert last.create({"t": np.full((2, 30), 99.0)}) == (() if first else ("t",))
    assert seen(last) == (first or {"t": {99.0}})
