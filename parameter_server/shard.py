"""Shard: the pieces of one server, their versions and clients; the unit of consistency, alone in deciding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition, Lock
from typing import TYPE_CHECKING, final

import numpy as np

from parameter_server.admission import (
    LARGEST,
    RefusedError,
    attempt_of,
    check_heading,
    check_part,
    check_sender,
    not_finite,
)
from parameter_server.application import Application, Heading
from parameter_server.leases import Leases
from parameter_server.link import Answer, Pulled, Push, Welcome
from parameter_server.memory import Memory
from parameter_server.outcome import Outcome
from parameter_server.piece import ITEM_SIZES, Piece
from parameter_server.policy import Async, Bounded, Policy
from parameter_server.recorder import Recorder
from parameter_server.statistics import Statistics
from parameter_server.store import FencedError, StoreError
from parameter_server.ticket import Ticket
from parameter_server.update import Stepping, Update

if TYPE_CHECKING:
    from parameter_server.store import Array

__all__ = ["Application", "Heading", "Shard", "Ticket"]


def ignore(moment: str) -> None:
    """What a shard tells of its progress where nobody listens."""


@final
class Shard:
    """One shard of a store: no threads, no I/O and no clock of its own; hold `lock` around every call.

    Tests look through `probe` at the moments "before apply", "inside apply", "after apply" (before the commit) and
    "after commit" (before the answer).
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
        self.lock = Lock()
        self.changed = Condition(self.lock)  # notified when a ticket got its answer
        self._clock = clock
        self._recorder = recorder
        self._probe = probe
        self._stepping = Stepping(memory, policy)
        self._leases = Leases(policy.lease)
        self._settled: list[tuple[Ticket, Answer]] = []
        self.statistics.version = memory.book.version

    def hello(self, client: str, attempt: int) -> Welcome:
        """Join, or ask again; raises `FencedError` for an attempt that is not the highest. `client` "" only asks."""
        if client:
            self.beat(client, attempt)
        book = self.memory.book
        return Welcome(
            shard=self.number,
            shards=self.shards,
            policy=self.policy,
            table=int(book.header["table"][0]),
            pieces=self.memory.pieces,
            version=book.version,
            number=book.next_number(client),
        )

    def beat(self, client: str, attempt: int) -> None:
        """Renew a lease, or give one; raises `FencedError` as `hello` does."""
        now = self._lapse()
        known = self._not_fenced(client, attempt)
        if known != attempt or client not in self._leases:
            self._enter(client, attempt)
        self._leases.renew(client, now)
        self.statistics.clients = len(self._leases)

    def leave(self, client: str, attempt: int) -> None:
        """Give up a lease; what was pushed stays."""
        self._lapse()
        self._not_fenced(client, attempt)
        self._leases.drop(client)
        self.statistics.clients = len(self._leases)

    def epoch(self, epoch: int) -> None:
        """Take orders from the driver of this epoch; raises `FencedError` when there is one of a later epoch."""
        header = self.memory.book.header
        current = int(header["epoch"][0])
        if epoch < current:
            raise FencedError(f"the driver of epoch {current} has taken over from that of epoch {epoch}: stop it")
        if epoch > current:
            header["epoch"] = epoch
            self.memory.commit(())

    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> tuple[str, ...]:
        """Add the pieces whose keys are new, all or none, and give these keys; raises `StoreError` for bad values."""
        new = {}
        for piece, array in zip(pieces, values, strict=True):
            if piece.key not in self._stepping.places and piece.key not in new:
                new[piece.key] = (piece, self._first(piece, array))
        if new:
            book = self.memory.book
            book.header["table"] += 1
            try:
                self.memory.grow(
                    [piece for piece, _ in new.values()],
                    [buffers for _, buffers in new.values()],
                    int(book.header["capacity"][0]),
                )
            except BaseException:
                self.memory.rollback()
                raise
            self._stepping.refresh()
        return tuple(new)

    def pull(self, keys: Sequence[str], newer_than: int | None = None) -> Pulled:
        """These pieces, as views that are valid while the lock is held; raises `StoreError` for an unknown key."""
        book, places = self.memory.book, self._stepping.places
        parts = {}
        for key in keys:
            place = places.get(key)
            if place is None:
                raise StoreError(f"there is no piece {key!r} on shard {self.number}: create it first")
            if newer_than is None or book.pieces["changed"][place] > newer_than:
                parts[key] = self.memory.front(place)[0]
        self.statistics.pulls += 1
        self.statistics.bytes_out += sum(part.nbytes for part in parts.values())
        return Pulled(book.version, parts, int(book.header["table"][0]))

    def push(self, push: Push) -> Answer | Ticket:
        """Have a push applied, or refused; a ticket stands for an answer that `settled` will give."""
        began = self._clock()
        self.statistics.bytes_in += sum(part.values.nbytes for part in push.parts)
        try:
            known = self._stepping.places
            places = tuple(known[part.key] for part in push.parts if part.key in known)
            ledgers = self._admitted(Heading(push.id, push.base, push.table, push.scale, places))
            self._check_parts(push, places)
            return self._applied(push, places, ledgers, began)
        except RefusedError as error:
            return self.refused(error.outcome, error.reason, error.version)

    def settled(self) -> list[tuple[Ticket, Answer]]:
        """Tickets that have got their answers, each given once; call it after every push, hello, beat and leave."""
        self._lapse()
        settled, self._settled = self._settled, []
        if settled:
            self.changed.notify_all()
        return settled

    def give_up(self, ticket: Ticket) -> Answer:
        """The answer to who cannot wait any longer: the push is withdrawn, unless it was just settled."""
        return ticket.answer or self.refused(Outcome.WAITING, "it waited for as long as it could: send the same again")

    def begin(self, heading: Heading) -> Application | Answer | None:
        """An update that takes its gradients bit by bit, or why there is none; None: send it whole, to `push`."""
        if not isinstance(self.policy.mode, Async | Bounded) or self._recorder is not None:
            return None
        try:
            ledgers = self._admitted(heading)
        except RefusedError as error:
            return self.refused(error.outcome, error.reason, error.version)
        return Application(self, heading, self._update(heading.base), ledgers, self._clock())

    def refused(self, outcome: Outcome, reason: str, version: int | None = None) -> Answer:
        """Count a push that is not applied, for whatever reason its bytes or its sender gave, and answer it."""
        self.statistics.pushes[outcome] += 1
        return Answer(outcome, self.memory.book.version if version is None else version, reason)

    def _applied(self, push: Push, places: Sequence[int], ledgers: Sequence[int], began: float) -> Answer:
        update, of = self._update(push.base), self.memory.book.pieces["ledger"]
        for part, place in zip(push.parts, places, strict=True):
            if of[place] not in ledgers:
                continue
            if part.rows is None:
                fine = update.dense(place, 0, part.values.reshape(-1), push.scale)
            else:
                fine = update.rows(place, part.rows, part.values, push.scale)
            if not fine:
                raise not_finite(self.memory.pieces[place])
        return self.commit(update, push, ledgers, began)

    def commit(self, update: Update, push: Push, ledgers: Sequence[int], began: float) -> Answer:
        """Make an update of one push count; for the shard and its applications."""
        staleness = self.memory.book.version - push.base
        try:
            version = update.commit([push], [ledgers])
        except OSError as error:
            raise RefusedError(Outcome.BUSY, f"the push could not be recorded ({error}): send it again") from error
        now = self._clock()
        self.statistics.pushes[Outcome.APPLIED] += 1
        self.statistics.version = version
        self.statistics.staleness.observe(staleness)
        self.statistics.push_seconds.observe(now - began)
        return Answer(Outcome.APPLIED, version)

    def _update(self, base: int) -> Update:
        staleness = self.memory.book.version - base
        rate = 1 / staleness if self.policy.scaled_by_staleness and staleness > 1 else 1.0
        return Update(self._stepping, self._probe, self._recorder, rate)

    def _check_parts(self, push: Push, places: Sequence[int]) -> None:
        if len(places) < len(push.parts):
            key = next(part.key for part in push.parts if part.key not in self._stepping.places)
            raise RefusedError(
                Outcome.UNKNOWN_NAME, f"there is no piece {key!r} on shard {self.number}: create it first"
            )
        for place, part in zip(places, push.parts, strict=True):
            check_part(self.memory.pieces[place], part)

    def _admitted(self, heading: Heading) -> Sequence[int]:
        """The ledgers that a push is to be counted on; raises when it is not to be applied, or was already."""
        now, book, client = self._lapse(), self.memory.book, heading.id.client
        check_sender(book, heading.id)
        if client in self._leases:
            self._leases.renew(client, now)
        if len(set(heading.places)) < len(heading.places):
            raise RefusedError(Outcome.WRONG_SHAPE, "a piece comes twice in one push: add its gradients up")
        if not all(0 <= place < len(self.memory.pieces) for place in heading.places):
            raise RefusedError(Outcome.UNKNOWN_NAME, f"there are {len(self.memory.pieces)} pieces: say hello for them")
        ledgers = self._uncounted(heading)
        if client not in self._leases:
            raise RefusedError(
                Outcome.UNKNOWN_CLIENT, f"the lease of {client} has lapsed: say hello, and send it again"
            )
        check_heading(book, heading.base, heading.table, heading.scale)
        return ledgers

    def _uncounted(self, heading: Heading) -> Sequence[int]:
        book, push_id = self.memory.book, heading.id
        ledgers = sorted({int(ledger) for ledger in book.pieces["ledger"][list(heading.places)]}) or [0]
        versions = {ledger: book.counted(ledger, push_id.client, push_id.number) for ledger in ledgers}
        uncounted = [ledger for ledger, version in versions.items() if version is None]
        if not uncounted:
            version = max(version for version in versions.values() if version is not None)
            raise RefusedError(Outcome.DUPLICATE, "it was counted before", version)
        return uncounted

    def _first(self, piece: Piece, values: Array) -> tuple[Array, ...]:
        """The first numbers of a piece, and of what its optimizer remembers."""
        if piece.dtype not in ITEM_SIZES or values.dtype.name != piece.dtype:
            raise StoreError(
                f"{piece.name} is {values.dtype}, but tensors are float32 or float64: convert it", Outcome.WRONG_DTYPE
            )
        if values.size != piece.size:
            raise StoreError(f"{piece.key} has {values.size} elements, but the piece {piece.size}", Outcome.WRONG_SHAPE)
        if not np.isfinite(values).all():
            raise StoreError(f"{piece.name} is not finite: a tensor begins with numbers", Outcome.NOT_FINITE)
        optimizer = self.policy.group(piece.name).optimizer
        flat = values.reshape(-1)
        return (flat, *(np.full_like(flat, optimizer.start) for _ in optimizer.slots))

    def _not_fenced(self, client: str, attempt: int) -> int | None:
        known = attempt_of(self.memory.book, client)
        if known is not None and attempt < known:
            raise FencedError(
                f"attempt {known} of {client} has taken over from attempt {attempt}: stop it", Outcome.FENCED
            )
        if not 0 <= attempt < LARGEST:
            raise StoreError(f"attempt {attempt} of {client}: attempts are numbered from 0 to below 2**62")
        return known

    def _enter(self, client: str, attempt: int) -> None:
        """Write a client's attempt into the book, and make it durable."""
        book = self.memory.book
        missing = [ledger for ledger in book.ledgers if (ledger, client) not in book.rows]
        capacity = int(book.header["capacity"][0])
        if int(book.header["clients"][0]) + len(missing) > capacity:
            self.memory.grow((), (), 2 * capacity + len(missing))
            self._stepping.refresh()
            book = self.memory.book
        for ledger in book.ledgers:
            book.client(ledger, client)["attempt"] = attempt
        self.memory.commit(())

    def _lapse(self) -> float:
        """End leases whose time is over; gives the time."""
        now = self._clock()
        gone = self._leases.lapse(now)
        if gone:
            self.statistics.leases_lapsed += len(gone)
            self.statistics.clients = len(self._leases)
        return now
