"""Ticket: a push that waits on a shard, for its round to be complete or for slower clients to catch up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, final

from parameter_server.link import Answer, Push
from parameter_server.store import PushId

Key: TypeAlias = tuple[str, int]  # a client, and the number of its push


@final
@dataclass(slots=True, eq=False)
class Ticket:
    """What a caller holds instead of an answer; `answer` is filled in when there is one, under the shard's lock."""

    key: Key
    answer: Answer | None = None


@final
@dataclass(slots=True, eq=False)
class Waiting:
    """A push that waits, with copies of its gradients; who sent it more than once holds more than one ticket."""

    push: Push
    ledgers: Sequence[int]  # those that it was not counted on before
    since: float
    tickets: list[Ticket] = field(default_factory=list)


@final
class Queue:
    """The pushes that wait, in the order in which they came, and the tickets that nobody was told about yet."""

    def __init__(self) -> None:
        self._waiting: dict[Key, Waiting] = {}
        self._settled: list[tuple[Ticket, Answer]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(list(self._waiting.values()))

    def waits(self, push_id: PushId) -> bool:
        """Whether this push waits."""
        return (push_id.client, push_id.number) in self._waiting

    def has(self, client: str) -> bool:
        """Whether anything waits of a client."""
        return any(name == client for name, _ in self._waiting)

    def of(self, client: str) -> list[Waiting]:
        """What waits of a client."""
        return [waiting for waiting in self if waiting.push.id.client == client]

    def add(self, waiting: Waiting) -> None:
        self._waiting[waiting.push.id.client, waiting.push.id.number] = waiting

    def ticket(self, push_id: PushId) -> Ticket:
        """A new ticket for a push that waits."""
        key = push_id.client, push_id.number
        ticket = Ticket(key)
        self._waiting[key].tickets.append(ticket)
        return ticket

    def settle(self, waiting: Waiting, answer: Answer) -> None:
        """Give all tickets of a push their answer; it does not wait any more."""
        del self._waiting[waiting.push.id.client, waiting.push.id.number]
        for ticket in waiting.tickets:
            ticket.answer = answer
            self._settled.append((ticket, answer))

    def tell(self) -> list[tuple[Ticket, Answer]]:
        """The tickets that were settled since this was last asked."""
        settled, self._settled = self._settled, []
        return settled

    def take(self, ticket: Ticket) -> Answer | None:
        """The answer of a ticket that was settled at once, whose holder need not be told again."""
        self._settled = [(other, answer) for other, answer in self._settled if other is not ticket]
        return ticket.answer

    def withdraw(self, ticket: Ticket) -> None:
        """Forget a ticket, and its push when nobody else waits for it."""
        waiting = self._waiting.get(ticket.key)
        if waiting is not None and ticket in waiting.tickets:
            waiting.tickets.remove(ticket)
            if not waiting.tickets:
                del self._waiting[ticket.key]
