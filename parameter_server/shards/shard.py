"""Shard: the pieces of one server, their versions and clients; the unit of consistency, alone in deciding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Condition, Lock
from typing import TYPE_CHECKING, final

from parameter_server.link import Answer, Pulled, Push, Welcome
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Bounded, Policy, Sync
from parameter_server.shards.admission import RefusedError, check_heading, check_sender, not_finite
from parameter_server.shards.application import Application, Heading
from parameter_server.shards.clocks import ahead, slowest
from parameter_server.shards.kernels import finite
from parameter_server.shards.members import Members
from parameter_server.shards.memory import Memory
from parameter_server.shards.recorder import Recorder
from parameter_server.shards.rounds import Barrier, copied
from parameter_server.shards.state import Counting, State
from parameter_server.shards.ticket import Queue, Ticket, Waiting
from parameter_server.statistics import Statistics
from parameter_server.store import PushId

if TYPE_CHECKING:
    from parameter_server.store import Array

__all__ = ["Application", "Heading", "Shard", "Ticket"]


def ignore(moment: str) -> None:
    """What a shard tells of its progress where nobody listens."""


@final
class Shard:
    """One shard of a store: no threads, no I/O and no clock of its own; hold `lock` around every call.

    It alone counts pushes and their seconds, of which those of a wait are part. Tests look through `probe` at the
    moments "before apply", "inside apply", "after apply" (before the commit), "after commit" (before the answer).
    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        number: int,
        shards: int,
        memory: Memory,
        policy: Policy,
        *,
        clock: Callable[[], float],
        statistics: Statistics | None = None,
        recorder: Recorder | None = None,
        probe: Callable[[str], None] = ignore,
    ) -> None:
        self.number = number
        self.shards = shards
        self.memory = memory
        self.policy = policy
        self.statistics = statistics or Statistics(number)
        self.statistics.version = memory.book.version
        self.state = State(memory, policy, recorder, probe)
        self.lock = Lock()
        self.changed = Condition(self.lock)  # notified when tickets got their answers
        self._clock = clock
        self._whole = recorder is not None
        self._members = Members(self.state, policy, self.statistics)
        self._queue = Queue()
        self._barrier = Barrier(policy.mode, policy.lease) if isinstance(policy.mode, Sync) else None

    def hello(self, client: str, attempt: int) -> Welcome:
        """Join, or ask again; raises `FencedError` for an attempt that is not the highest. `client` "" only asks."""
        if client:
            self.beat(client, attempt)
        book = self.memory.book
        return Welcome(
            shard=self.number,
            shards=self.shards,
            policy=self.policy,
            table=self.state.table,
            pieces=self.memory.pieces,
            version=book.version,
            number=book.next_number(client),
        )

    def beat(self, client: str, attempt: int) -> None:
        """Renew a lease, or give one; raises `FencedError` as `hello` does."""
        now = self._lapse()
        if self._members.join(client, attempt, now):
            for waiting in self._queue.of(client):
                reason = f"attempt {attempt} of {client} has taken over from attempt {waiting.push.id.attempt}: stop it"
                self._settle(waiting, self.refused(Outcome.FENCED, reason), now)
        if self._barrier is not None:
            self._barrier.join(client, now)

    def leave(self, client: str, attempt: int) -> None:
        """Give up a lease; what was pushed stays."""
        self._lapse()
        self._members.leave(client, attempt)

    def epoch(self, epoch: int) -> None:
        """Take orders from the driver of this epoch; raises `FencedError` when there is one of a later epoch."""
        self.state.epoch(epoch)

    def check_driver(self, epoch: int | None) -> None:
        """Raise `FencedError` for a driver of an earlier epoch than the highest; those without epoch drive nothing."""
        if epoch is not None:
            self.state.check_driver(epoch)

    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> tuple[str, ...]:
        """Add the pieces whose keys are new, all or none, and give these keys; raises `StoreError` for bad values."""
        return self.state.create(pieces, values)

    def pull(self, keys: Sequence[str], newer_than: int | None = None) -> Pulled:
        """These pieces, as views that are valid while the lock is held; raises `StoreError` for an unknown key."""
        pulled = self.state.pull(keys, newer_than)
        self.statistics.pulls += 1
        self.statistics.bytes_out += sum(part.nbytes for part in pulled.parts.values())
        return pulled

    def push(self, push: Push) -> Answer | Ticket:
        """Have a push applied, or refused; a ticket stands for an answer that is not known yet."""
        began = self._clock()
        self.statistics.bytes_in += sum(part.values.nbytes for part in push.parts)
        try:
            places = self.state.places(push)
            ledgers = self._admitted(Heading(push.id, push.base, push.table, push.scale, places))
            self.state.check(push)
            if self._must_wait(push.id):
                return self._wait(push, ledgers, began)
            version = self.state.apply([Counting(push, ledgers)])
            return self.applied(push.base, version, began)
        except RefusedError as error:
            return self.refused(error.outcome, error.reason, error.version)

    def settled(self) -> list[tuple[Ticket, Answer]]:
        """Tickets that got answers, each told once; call it after every push, hello, beat, leave, and now and then."""
        self._release(self._lapse())
        settled = self._queue.tell()
        if settled and self.lock.locked():  # a test in one thread needs no lock
            self.changed.notify_all()
        return settled

    def give_up(self, ticket: Ticket) -> Answer:
        """The answer for who cannot wait any longer: its push is withdrawn, unless it was just settled."""
        if ticket.answer is not None:
            return ticket.answer
        self._queue.withdraw(ticket)
        self.statistics.queue = len(self._queue)
        self._members.renew(ticket.key[0], self._clock())
        return self.refused(Outcome.WAITING, "it waited for others for as long as it could: send the same again")

    def begin(self, heading: Heading) -> Application | Answer | None:
        """An update that takes its gradients bit by bit, or why there is none; None: send it whole, to `push`."""
        if self._whole:
            return None
        began = self._clock()
        try:
            ledgers = self._admitted(heading)
        except RefusedError as error:
            return self.refused(error.outcome, error.reason, error.version)
        if self._must_wait(heading.id):
            return None
        return Application(self, heading, ledgers, began)

    def refused(self, outcome: Outcome, reason: str, version: int | None = None) -> Answer:
        """Count a push that is not applied, for whatever reason its bytes or its sender gave, and answer it."""
        self.statistics.pushes[outcome] += 1
        return Answer(outcome, self.memory.book.version if version is None else version, reason)

    def applied(self, base: int, version: int, began: float) -> Answer:
        """Count a push that is in `version`, and answer it."""
        statistics = self.statistics
        statistics.pushes[Outcome.APPLIED] += 1
        statistics.version = version
        statistics.staleness.observe(version - 1 - base)
        statistics.push_seconds.observe(self._clock() - began)
        return Answer(Outcome.APPLIED, version)

    def replay(self, version: int, pushes: Sequence[Push]) -> bool:
        """Take an update as it was recorded; False where the numbers have it already.

        Raises `StoreError` when an update before it is missing.
        """
        taken = self.state.replay(version, pushes)
        self.statistics.version = self.memory.book.version
        return taken

    def _admitted(self, heading: Heading) -> Sequence[int]:
        """The ledgers that a push is to be counted on; raises when it is not to be applied, or was already."""
        now, book, client = self._lapse(), self.memory.book, heading.id.client
        check_sender(book, heading.id)
        self._members.renew(client, now)
        if len(set(heading.places)) < len(heading.places):
            raise RefusedError(Outcome.WRONG_SHAPE, "a piece comes twice in one push: add its gradients up")
        if not all(0 <= place < len(self.memory.pieces) for place in heading.places):
            raise RefusedError(Outcome.UNKNOWN_NAME, f"there are {len(self.memory.pieces)} pieces: say hello for them")
        ledgers = self.state.uncounted(heading.id, heading.places)
        if client not in self._members:
            raise RefusedError(
                Outcome.UNKNOWN_CLIENT, f"{client} holds no lease (any more): say hello, then send the same again"
            )
        check_heading(book, heading.base, heading.table, heading.scale)
        self._check_age(book.version - heading.base)
        return ledgers

    def _check_age(self, staleness: int) -> None:
        """Raise when so many updates are too many; those that were lost with an incarnation count as many."""
        mode = self.policy.mode
        if staleness > 0 and isinstance(mode, Sync):
            raise RefusedError(Outcome.LATE, f"its round was closed without it, {staleness} rounds ago: pull")
        if isinstance(mode, Bounded) and mode.beyond == "reject" and staleness > mode.staleness:
            raise RefusedError(
                Outcome.STALE,
                f"there were {staleness} updates since its parameters, and at most {mode.staleness} may be: pull, "
                "and compute it again",
            )

    def _must_wait(self, push_id: PushId) -> bool:
        """Whether a push joins those that wait; one that waits already does, so that it is applied once."""
        return isinstance(self.policy.mode, Sync) or self._queue.waits(push_id) or not self._near([push_id.client])

    def _near(self, clients: Iterable[str]) -> list[str]:
        """Those of some clients who are not too far ahead of the slowest."""
        mode, book = self.policy.mode, self.memory.book
        if not isinstance(mode, Bounded) or mode.beyond != "block":
            return list(clients)
        clock = slowest(book, self._members)
        return [client for client in clients if ahead(book, client, clock) <= mode.staleness]

    def _wait(self, push: Push, ledgers: Sequence[int], began: float) -> Answer | Ticket:
        if not self._queue.waits(push.id):
            if len(self._queue) >= self.policy.in_flight:
                raise RefusedError(Outcome.BUSY, f"{len(self._queue)} pushes wait already: send the same a bit later")
            if self._barrier is not None and self._queue.has(push.id.client):
                raise RefusedError(Outcome.BUSY, "the client has another push in this round: wait for its answer")
            own = copied(push)
            for part in own.parts:
                if not finite(part.values):
                    raise not_finite(self.memory.pieces[self.state.stepping.places[part.key]])
            self._queue.add(Waiting(own, ledgers, began))
        ticket = self._queue.ticket(push.id)
        self._release(began)
        self.statistics.queue = len(self._queue)
        return self._queue.take(ticket) or ticket

    def _release(self, now: float) -> None:
        """Settle what need not wait any longer."""
        if self._barrier is None:
            while len(self._queue) and (near := set(self._near(waiting.push.id.client for waiting in self._queue))):
                self._finish([next(waiting for waiting in self._queue if waiting.push.id.client in near)], now)
        elif len(self._queue) >= self._barrier.waits_for(len(self._members), now):
            self._finish(list(self._queue), now)

    def _finish(self, together: Sequence[Waiting], now: float) -> None:
        """Make one update of pushes that waited, and settle them."""
        try:
            version = self.state.apply([Counting(waiting.push, waiting.ledgers) for waiting in together])
        except RefusedError as error:
            for waiting in together:
                self._settle(waiting, self.refused(error.outcome, error.reason), now)
        else:
            for waiting in together:
                self._settle(waiting, self.applied(waiting.push.base, version, waiting.since), now)

    def _settle(self, waiting: Waiting, answer: Answer, now: float) -> None:
        self._queue.settle(waiting, answer)
        self._members.renew(waiting.push.id.client, now)
        self.statistics.barrier_seconds.observe(now - waiting.since)
        self.statistics.queue = len(self._queue)

    def _lapse(self) -> float:
        """End leases whose time is over; gives the time."""
        now = self._clock()
        self._members.lapse(now, self._queue.has)
        return now
