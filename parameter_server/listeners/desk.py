"""Desk: what clients of the same machine ask, asked of the shards; it translates, the shards decide."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from parameter_server.link import Answer, Part, Push
from parameter_server.listeners.caller import Caller
from parameter_server.listeners.ring import apply_ring
from parameter_server.messages.packing import Packing, fill, sound, type_name
from parameter_server.messages.wire import (
    Announced,
    Header,
    Kind,
    Pushes,
    Where,
    answers_body,
    failure,
    json_of,
    message,
    read_pushes,
    said,
    welcome_json,
)
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.shards.shard import Shard, Ticket
from parameter_server.shared_memory.arena import Arena
from parameter_server.shared_memory.slots import DATA, ORDERED, Slot
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Lease: TypeAlias = Callable[[Shard, str, int], None]

SLACK: Final = 2**20  # bytes that a push may have above twice its shard, so that a wrong shape is seen to be one


@final
@dataclass(slots=True, eq=False)
class Wait:
    """A message whose pushes are not all answered: `tickets` by the place of the answer; `until` is of `monotonic`."""

    caller: Caller
    request: int
    answers: list[Answer | None]
    tickets: dict[int, tuple[Shard, Ticket]]
    until: float

    def done(self) -> bytes | None:
        """The reply, when every push has its answer; to be called under no lock."""
        if self.tickets:
            for place, (_, ticket) in list(self.tickets.items()):
                if ticket.answer is not None:
                    self.answers[place] = ticket.answer
                    del self.tickets[place]
        if self.tickets:
            return None
        answers = [answer for answer in self.answers if answer is not None]
        return message(Kind.ANSWERS, 0, self.request, answers_body(answers))

    def give_up(self) -> None:
        """Its client cannot wait any longer, or is gone."""
        for place, (shard, ticket) in self.tickets.items():
            with shard.lock:
                self.answers[place] = shard.give_up(ticket)
                shard.settled()
        self.tickets.clear()


@final
@dataclass(slots=True)
class Desk:
    """Answers messages, or keeps them in `waits`; `snapshot` has a shard written, and replies later."""

    shards: dict[int, Shard]
    snapshot: Callable[[Caller, Header], None]
    waits: list[Wait] = field(default_factory=list)
    _kinds: dict[Kind, Callable[[Caller, Header, bytes], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._kinds = {
            Kind.HELLO: self._hello, Kind.CREATE: self._create, Kind.PUSHES: self._pushes, Kind.PULL: self._pull,
            Kind.BEAT: partial(self._lease, Shard.beat), Kind.LEAVE: partial(self._lease, Shard.leave),
            Kind.ARENA: self._arena, Kind.SLOT: self._slot, Kind.DRIVER: self._driver,
            Kind.SNAPSHOT: self._snapshot, Kind.STATISTICS: self._statistics,
        }  # fmt: skip

    def answer(self, caller: Caller, head: Header, body: bytes) -> None:
        """Reply to a message, or see to it; whatever is wrong with it is a reply too, and is counted."""
        try:
            self._kinds.get(head.kind, self._unknown)(caller, head, body)
        except StoreError as error:
            if error.outcome is not None and head.kind is Kind.PUSHES:
                self.count(head.shard, error.outcome)
            caller.send(failure(head.shard, head.request, error))

    def count(self, number: int, outcome: Outcome) -> None:
        """Count what could not be read, where it is not clear whose it is on the first shard."""
        shard = self.shards.get(number) or next(iter(self.shards.values()))
        with shard.lock:
            shard.refused(outcome, "")

    def look(self) -> list[Caller]:
        """Reply to who has waited, for there are answers now, or its time is over; gives these."""
        if not self.waits:
            return []
        now, left, told = monotonic(), [], []
        for wait in self.waits:
            if now > wait.until or wait.caller.gone:
                wait.give_up()
            reply = wait.done()
            if reply is None:
                left.append(wait)
            else:
                wait.caller.send(reply)
                told.append(wait.caller)
        self.waits = left
        return told

    def settle(self) -> None:
        """Let leases lapse."""
        for shard in self.shards.values():
            with shard.lock:
                shard.settled()

    def _unknown(self, _caller: Caller, head: Header, _body: bytes) -> None:
        raise StoreError(f"a message of kind {head.kind.name} is a reply", Outcome.CORRUPTED)

    def _shard(self, number: int) -> Shard:
        if number not in self.shards:
            raise StoreError(f"shard {number} is not here, but {', '.join(map(str, self.shards))}", Outcome.MOVED)
        return self.shards[number]

    def _hello(self, caller: Caller, head: Header, body: bytes) -> None:
        shard = self._shard(head.shard)
        client, attempt = _client(body)
        with shard.lock:
            shard.check_driver(caller.epoch if client else None)
            welcome = shard.hello(client, attempt)
            shard.settled()
        caller.send(said(head.shard, head.request, welcome_json(welcome)))

    def _lease(self, change: Lease, caller: Caller, head: Header, body: bytes) -> None:
        shard = self._shard(head.shard)
        with shard.lock:
            change(shard, *_client(body))
            shard.settled()
        caller.send(said(head.shard, head.request, {}))

    def _snapshot(self, caller: Caller, head: Header, _body: bytes) -> None:
        self._shard(head.shard)
        self.snapshot(caller, head)

    def _statistics(self, caller: Caller, head: Header, body: bytes) -> None:
        shard, data = self._shard(head.shard), json_of(body)
        with shard.lock:
            _report(shard, data.get("pulls", 0), data.get("pulled", 0))
            reply = shard.statistics.to_json()
        caller.send(said(head.shard, head.request, reply))

    def _driver(self, caller: Caller, head: Header, body: bytes) -> None:
        epoch = json_of(body).get("epoch")
        if not isinstance(epoch, int):
            raise StoreError("a driver has an epoch", Outcome.CORRUPTED)
        caller.epoch = epoch
        caller.send(said(head.shard, head.request, {}))

    def _slot(self, caller: Caller, head: Header, _body: bytes) -> None:
        caller.take(Slot.received(caller.descriptor()))
        caller.send(said(head.shard, head.request, {}))

    def _arena(self, caller: Caller, head: Header, _body: bytes) -> None:
        shard = self._shard(head.shard)
        with shard.lock:
            descriptor = shard.memory.reader() if isinstance(shard.memory, Arena) and ORDERED else None
        caller.send(said(head.shard, head.request, {"arena": descriptor is not None}), descriptor)
        if descriptor is not None:
            os.close(descriptor)

    def _create(self, caller: Caller, head: Header, body: bytes) -> None:
        shard, data = self._shard(head.shard), json_of(body)
        try:
            pieces = [Piece.from_json(piece) for piece in data["pieces"]]
            packing = Packing.of((str(dtype), int(count)) for dtype, count in data["kinds"])
            sums = [int(one) for one in data["sums"]]
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"a creation cannot be read: {error}", Outcome.CORRUPTED) from None
        if len(packing.kinds) != len(pieces) or packing.chunks != len(sums):
            raise StoreError("a creation has not as many numbers as it says", Outcome.TRUNCATED)
        arrays = packing.arrays(_slot(caller, packing).file, DATA)
        if not sound(arrays, iter(sums)):
            raise StoreError("a checksum does not fit: send it again", Outcome.CORRUPTED)
        with shard.lock:
            shard.check_driver(caller.epoch)
            keys = shard.create(pieces, arrays)
        caller.send(said(head.shard, head.request, {"keys": keys}))

    def _pull(self, caller: Caller, head: Header, body: bytes) -> None:
        shard, data = self._shard(head.shard), json_of(body)
        keys, newer_than = data.get("keys"), data.get("newer_than")
        if not isinstance(keys, list) or not (newer_than is None or isinstance(newer_than, int)):
            raise StoreError("a pull has no keys", Outcome.CORRUPTED)
        with shard.lock:
            pulled = shard.pull([str(key) for key in keys], newer_than)
            packing = Packing.of((type_name(part.dtype), part.size) for part in pulled.parts.values())
            arrays = packing.arrays(_slot(caller, packing).file, DATA)
            sums = fill(arrays, list(pulled.parts.values()))
        reply = {"version": pulled.version, "table": pulled.table, "keys": list(pulled.parts),
                 "kinds": packing.kinds, "sums": sums}  # fmt: skip
        caller.send(said(head.shard, head.request, reply))

    def _pushes(self, caller: Caller, head: Header, body: bytes) -> None:
        came = read_pushes(body)
        if came.where is Where.RING:
            self._ring(caller, head, came)
            return
        if came.where is Where.SLOT:
            arrays = came.packing.arrays(_slot(caller, came.packing).file, DATA)
        else:
            arrays = came.packing.arrays(body, came.end)
        numbers, sums = iter(arrays), iter(came.sums) if came.where is Where.SLOT else None
        wait = Wait(caller, head.request, [], {}, 0.0)
        for push in came.pushes:
            answer = self._push(caller, push, numbers, sums)
            if isinstance(answer, Ticket):
                wait.tickets[len(wait.answers)] = (self.shards[push.shard], answer)
                wait.answers.append(None)
            else:
                wait.answers.append(answer)
        reply = wait.done()
        if reply is None:
            wait.until = monotonic() + came.seconds
            self.waits.append(wait)
        else:
            caller.send(reply)

    def _push(
        self, caller: Caller, push: Announced, arrays: Iterator[NDArray[Any]], sums: Iterator[int] | None
    ) -> Answer | Ticket:
        parts, mine = [], []
        for part in push.parts:
            rows = next(arrays) if part.rows >= 0 else None
            values = next(arrays)
            parts.append(Part(part.key, values, rows))
            mine += [values] if rows is None else [rows, values]
        fits = sums is None or sound(mine, sums)
        shard = self._shard(push.shard)
        with shard.lock:
            _report(shard, push.pulls, push.pulled)
            shard.check_driver(caller.epoch)
            if not fits:
                return shard.refused(Outcome.CORRUPTED, "a checksum does not fit: send the same again")
            most = 2 * sum(piece.bytes for piece in shard.memory.pieces) + SLACK
            if sum(array.nbytes for array in mine) > most:
                return shard.refused(Outcome.TOO_LARGE, f"a push to shard {shard.number} has {most:,} bytes at most")
            answer = shard.push(Push(push.id, push.base, push.table, parts, push.scale))
            shard.settled()
        return answer

    def _ring(self, caller: Caller, head: Header, came: Pushes) -> None:
        (push,) = came.pushes if len(came.pushes) == 1 else (None,)
        if push is None or caller.slot is None or not caller.slot.begun(came.serial):
            raise StoreError("a push by the ring needs a slot to itself", Outcome.CORRUPTED)
        shard = self._shard(push.shard)
        with shard.lock:
            _report(shard, push.pulls, push.pulled)
            shard.check_driver(caller.epoch)
            answer = apply_ring(shard, push, caller.slot)
            shard.settled()
        if answer is None:
            caller.send(message(Kind.WHOLE, head.shard, head.request))
        else:
            caller.send(message(Kind.ANSWERS, head.shard, head.request, answers_body([answer])))


def _client(body: bytes) -> tuple[str, int]:
    data = json_of(body)
    client, attempt = data.get("client"), data.get("attempt")
    if not isinstance(client, str) or not isinstance(attempt, int):
        raise StoreError("who says hello has a name and an attempt", Outcome.CORRUPTED)
    return client, attempt


def _slot(caller: Caller, packing: Packing) -> Slot:
    if caller.slot is None or caller.slot.size < packing.size:
        raise StoreError(f"there is no slot of {packing.size:,} bytes", Outcome.TRUNCATED)
    return caller.slot


def _report(shard: Shard, pulls: int, pulled: int) -> None:
    """Count pulls that a client has taken from the arena itself, and tells of now."""
    shard.statistics.pulls += pulls
    shard.statistics.bytes_out += pulled
