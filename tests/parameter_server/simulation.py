"""A shard and its clients in virtual time: messages are lost, late, doubled and overtaken, and anybody may die.

One seed is one schedule. The shard is the real one; the clock, the network and the memory that survives it are
simulated. What was accepted is read from each commit that became durable, and compared with what clients were told.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from parameter_server.link import Answer, Part, Push, Welcome
from parameter_server.optimizers import SGD
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Bounded, Group, Mode, Policy, Sync
from parameter_server.shards.book import Book
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.memory import Memory
from parameter_server.shards.recorder import Recorder
from parameter_server.shards.shard import Shard, Ticket
from parameter_server.store import WINDOW, FencedError, PushId

if TYPE_CHECKING:
    from parameter_server.shards.memory import Buffers
    from parameter_server.store import Array

LEASE = 1.0  # seconds
PATIENCE = 0.6  # of a client with a message, before it sends it again
HELD = 0.5  # that a shard lets a push wait
PIECES = (Piece("a", (3,), "float64", 0, 3), Piece("b", (2, 2), "float64", 0, 4))
RATE = 0.5  # a power of two, so that a fused multiply-add rounds as two operations do


class DeathError(BaseException):
    """The shard's process ends here."""


@dataclass
class World:
    """Virtual time, a network, and one source of randomness."""

    random: Random
    now: float = 0.0
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    numbers: Iterable[int] = field(default_factory=count)

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(iter(self.numbers)), what))

    def carry(self, deliver: Callable[[], None]) -> None:
        """Bring one message: never, once, twice, soon or late, in any order."""
        for _ in range(self.random.choices((0, 1, 2), (8, 84, 8))[0]):
            late = self.random.random() < 0.05
            self.after(self.random.uniform(0.5, 2.5) if late else self.random.expovariate(40), deliver)

    def run(self, until: Callable[[], bool]) -> None:
        while not until():
            self.now, _, what = heapq.heappop(self.events)
            what()


class DurableMemory(Memory):
    """A memory that outlives the shard; of what was not committed, nonsense is left."""

    def __init__(self, world: World, committed: Callable[[Book], None]) -> None:
        self.world = world
        self.heap = HeapMemory()
        self.committed = committed
        self.mortality = 0.0
        self._durable = self.heap.book.buffer.copy()

    @property
    def pieces(self) -> tuple[Piece, ...]:  # type: ignore[override]
        return self.heap.pieces

    @property
    def book(self) -> Book:  # type: ignore[override]
        return self.heap.book

    def front(self, place: int) -> Buffers:
        return self.heap.front(place)

    def back(self, place: int) -> Buffers:
        return self.heap.back(place)

    def commit(self, swapped: Sequence[int]) -> None:
        self.risk()
        self.heap.commit(swapped)
        self._written()
        self.risk()

    def rollback(self) -> None:
        self.heap.rollback()

    def grow(self, pieces: Sequence[Piece], buffers: Sequence[Buffers], capacity: int) -> None:
        self.risk()
        self.heap.grow(pieces, buffers, capacity)
        self._written()
        self.risk()

    def risk(self, _moment: str = "") -> None:
        if self.world.random.random() < self.mortality:
            raise DeathError

    def recover(self) -> None:
        """What the next process finds."""
        self.heap.book.buffer[:] = self._durable
        self.heap.book.reread()
        for place in range(len(self.pieces)):
            for buffer in self.back(place):
                buffer[:] = np.nan

    def _written(self) -> None:
        self._durable = self.heap.book.buffer.copy()
        self.committed(self.heap.book)


class FickleDisk(Recorder):
    """A log that is full now and then."""

    def __init__(self, world: World) -> None:
        self.world = world

    def record(self, version: int, pushes: Sequence[Push]) -> None:
        if self.world.random.random() < 0.1:
            raise OSError(28, "No space left on device")


@dataclass
class Accepted:
    """Pushes that one version consists of; `base` of those whose message made it, and the clocks of who was there."""

    version: int
    pushes: list[tuple[str, int]]
    cause: Push | None
    clocks: dict[str, int]


class Server:
    """The process of one shard, which dies and is started again."""

    def __init__(self, world: World, policy: Policy, mortality: float, recording: bool) -> None:
        self.world = world
        self.policy = policy
        self.mortality = mortality
        self.recorder = FickleDisk(world) if recording else None
        self.accepted: list[Accepted] = []
        self.known: set[tuple[str, int]] = set()
        self.memory = DurableMemory(world, self.note)
        self.shard: Shard | None = None
        self.waiting: dict[Ticket, tuple[float, Callable[[Any], None]]] = {}
        self.cause: Push | None = None
        self.deaths = 0
        self.start()
        assert self.shard is not None
        self.shard.create(PIECES, [first(piece) for piece in PIECES])
        self.memory.mortality = mortality

    def start(self) -> None:
        self.memory.recover()
        self.shard = Shard(
            0,
            1,
            self.memory,
            self.policy,
            clock=lambda: self.world.now,
            recorder=self.recorder,
            probe=self.memory.risk,
        )

    def die(self) -> None:
        self.deaths += 1
        self.shard = None
        self.waiting.clear()
        self.world.after(self.world.random.uniform(0.05, 1.5), self.start)

    def note(self, book: Book) -> None:
        if self.accepted and book.version == self.accepted[-1].version:
            return
        counted = set(numbers_in(book))
        new = sorted(counted - self.known)
        assert self.known <= counted, "a push that was counted is forgotten"
        if new:
            clocks = {name: int(book.clients["clock"][book.rows[0, name]]) for name in self.present()}
            self.accepted.append(Accepted(book.version, new, self.cause, clocks))
        self.known = counted

    def present(self) -> list[str]:
        return list(self.shard._members) if self.shard else []

    def deliver(self, ask: Callable[[Shard], Any], reply: Callable[[Any], None]) -> None:
        if self.shard is None:
            return
        try:
            with self.shard.lock:
                answer = ask(self.shard)
                if isinstance(answer, Ticket):
                    self.waiting[answer] = (self.world.now + HELD, reply)
                else:
                    self.world.carry(lambda: reply(answer))
                self.settle()
        except DeathError:
            self.die()

    def settle(self) -> None:
        assert self.shard is not None
        for ticket, answer in self.shard.settled():
            held = self.waiting.pop(ticket, None)
            if held is not None:
                self.answer(held[1], answer)

    def answer(self, reply: Callable[[Any], None], answer: Answer) -> None:
        self.world.carry(lambda: reply(answer))

    def tick(self) -> None:
        """What a listener does every now and then."""
        if self.shard is not None:
            try:
                with self.shard.lock:
                    self.settle()
                    for ticket, (until, reply) in list(self.waiting.items()):
                        if until <= self.world.now:
                            del self.waiting[ticket]
                            self.answer(reply, self.shard.give_up(ticket))
                    self.settle()
                    self.memory.risk()
            except DeathError:
                self.die()
        self.world.after(0.1, self.tick)


class Client:
    """Pulls, computes and pushes until its numbers are used up; issued again when it dies."""

    def __init__(self, world: World, server: Server, name: str, pushes: int) -> None:
        self.world = world
        self.server = server
        self.name = name
        self.pushes = pushes
        self.attempt = 0
        self.life = 0  # of the process: what was meant for an earlier one is not heard
        self.done = False
        self.told: dict[int, Answer] = {}  # numbers that the shard said are counted
        self.dropped: set[int] = set()
        self.pulls: list[tuple[int, list[Array]]] = []
        self.seen = 0
        self.frozen_until = 0.0
        self.begin()

    def begin(self) -> None:
        def welcomed(welcome: Any) -> None:
            if isinstance(welcome, Welcome):
                self.number, self.table = welcome.number, welcome.table
                self.dropped = {number for number in self.dropped if number < self.number}  # the rest is sent anew
                self.step()
            else:
                self.die()

        attempt = self.attempt
        self.call(lambda shard: hello(shard, self.name, attempt), welcomed)

    def step(self) -> None:
        if self.number >= self.pushes:
            self.call(lambda shard: shard.leave(self.name, self.attempt), lambda _: self.finish())
            return

        def pulled(answer: tuple[int, list[Array]]) -> None:
            version, _ = answer
            assert version >= self.seen, "versions go back"
            self.seen = version
            self.pulls.append(answer)
            self.world.after(self.world.random.expovariate(10), self.guarded(lambda: self.push(version)))

        self.call(pull, pulled)

    def push(self, base: int) -> None:
        push_id = PushId(self.name, self.number, self.attempt)
        parts = [Part(p.key, g) for p, g in zip(PIECES, gradients(self.name, self.number), strict=True)]
        push = Push(push_id, base, self.table, parts)

        def ask(shard: Shard) -> Answer | Ticket:
            self.server.cause = push
            return shard.push(push)

        def answered(answer: Answer) -> None:
            if answer.outcome.counted:
                assert answer.version >= self.told.get(self.number, answer).version
                self.told[self.number] = answer
                self.seen = max(self.seen, answer.version)
                self.number += 1
                self.step()
            elif answer.outcome is Outcome.LATE:
                self.dropped.add(self.number)
                self.number += 1
                self.step()
            elif answer.outcome is Outcome.STALE:
                self.step()
            elif answer.outcome is Outcome.UNKNOWN_CLIENT:
                attempt = self.attempt
                self.call(lambda shard: hello(shard, self.name, attempt), lambda _: self.push(base))
            elif answer.outcome in (Outcome.WAITING, Outcome.BUSY):
                self.world.after(0.02, self.guarded(lambda: self.push(base)))
            else:
                raise AssertionError(answer)

        self.call(ask, answered)

    def call(self, ask: Callable[[Shard], Any], then: Callable[[Any], None]) -> None:
        """Send until there is an answer, and hear only the first."""
        heard = False

        def hear(answer: Any) -> None:
            nonlocal heard
            if not heard:
                heard = True
                then(answer)

        reply = self.guarded_with(hear)

        def send() -> None:
            if not heard:
                self.world.carry(lambda: self.server.deliver(ask, reply))
                self.world.after(PATIENCE, self.guarded(send))

        send()

    def guarded(self, what: Callable[[], None]) -> Callable[[], None]:
        """`what`, if this process is still alive by then; later, if it is frozen."""
        life = self.life

        def run() -> None:
            if life != self.life:
                return
            if self.world.now < self.frozen_until:
                self.world.after(self.frozen_until - self.world.now, run)
            else:
                what()

        return run

    def guarded_with(self, what: Callable[[Any], None]) -> Callable[[Any], None]:
        life = self.life

        def run(answer: Any) -> None:
            if life == self.life:
                self.guarded(lambda: what(answer))()

        return run

    def die(self) -> None:
        if not self.done:
            self.life += 1
            self.attempt += 1
            self.world.after(self.world.random.uniform(0.1, 2.5), self.guarded(self.begin))

    def freeze(self) -> None:
        self.frozen_until = self.world.now + self.world.random.uniform(0.5, 3.0)

    def finish(self) -> None:
        self.done = True


def hello(shard: Shard, name: str, attempt: int) -> Welcome | FencedError:
    try:
        return shard.hello(name, attempt)
    except FencedError as error:
        return error


def pull(shard: Shard) -> tuple[int, list[Array]]:
    pulled = shard.pull([piece.key for piece in PIECES])
    return pulled.version, [part.copy() for part in pulled.parts.values()]


def first(piece: Piece) -> Array:
    return np.random.default_rng(piece.size).normal(size=piece.size)


@cache
def gradients(client: str, number: int) -> list[Array]:
    generator = np.random.default_rng([ord(client), number])
    return [generator.normal(size=piece.size) for piece in PIECES]


def numbers_in(book: Book) -> Iterable[tuple[str, int]]:
    for row in book.clients[: int(book.header["clients"][0])]:
        for back in range(WINDOW):
            if int(row["highest"]) >= back and int(row["mask"]) >> back & 1:
                yield row["name"].decode(), int(row["highest"]) - back


def states(accepted: Sequence[Accepted]) -> dict[int, list[Array]]:
    """The parameters after each version, by plain arithmetic."""
    now = [first(piece) for piece in PIECES]
    after = {0: now}
    for one in accepted:
        sums = [np.zeros_like(part) for part in now]
        for client, number in sorted(one.pushes):
            sums = [total + part for total, part in zip(sums, gradients(client, number), strict=True)]
        now = [part - RATE * (total / len(one.pushes)) for part, total in zip(now, sums, strict=True)]
        after[one.version] = now
    return after


def simulate(seed: int, mode: Mode, clients: int = 4, pushes: int = 6) -> tuple[Server, list[Client]]:
    """Run one schedule to its end, and check what must hold in every one."""
    random = Random(f"{seed}/{mode}")
    world = World(random)
    policy = Policy((Group(SGD(RATE)),), mode, lease=LEASE, in_flight=random.choice((4, 256)))
    server = Server(world, policy, random.choice((0.0, 0.01, 0.05)), random.random() < 0.3)
    crew = [Client(world, server, chr(ord("A") + number), pushes) for number in range(clients)]
    for client in crew:
        if random.random() < 0.4:
            world.after(random.uniform(0, 5), client.die)
        if random.random() < 0.3:
            world.after(random.uniform(0, 5), client.freeze)
    server.tick()
    world.run(lambda: all(client.done for client in crew) or world.now > 600)
    assert all(client.done for client in crew), f"not done after ten minutes: {mode}, seed {seed}"
    _check(server, crew, mode)
    return server, crew


def _check(server: Server, crew: Sequence[Client], mode: Mode) -> None:
    accepted = server.accepted
    assert [one.version for one in accepted] == list(range(1, len(accepted) + 1)), "a version twice, or left out"
    ids = [push for one in accepted for push in one.pushes]
    assert len(ids) == len(set(ids)), "counted twice"
    versions = {push: one.version for one in accepted for push in one.pushes}
    after = states(accepted)
    for client in crew:
        for number, answer in client.told.items():
            assert versions.get((client.name, number)) == answer.version, "acknowledged, and not in this version"
        for number in client.dropped:
            assert (client.name, number) not in versions, "said to be too late, and counted"
        for version, values in client.pulls:
            for value, expected in zip(values, after[version], strict=True):
                np.testing.assert_array_equal(value, expected, "a pull was torn, or is not what was accepted")
    if isinstance(mode, Sync):
        assert all(len(one.pushes) <= mode.workers for one in accepted)
        assert all(len({client for client, _ in one.pushes}) == len(one.pushes) for one in accepted)
    else:
        assert all(len(one.pushes) == 1 for one in accepted)
    if isinstance(mode, Bounded) and mode.beyond == "reject":
        for one in accepted:
            assert one.cause is not None
            assert one.version - 1 - one.cause.base <= mode.staleness, "staler than the bound"
    if isinstance(mode, Bounded) and mode.beyond == "block":
        for one in accepted:
            assert max(one.clocks.values()) - min(one.clocks.values()) <= mode.staleness + 1, "too far ahead"
