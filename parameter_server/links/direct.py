"""DirectLink: a shard in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, final

import numpy as np

from parameter_server.link import Answer, Link, Pulled, Push, Welcome
from parameter_server.piece import Piece
from parameter_server.shards.shard import Shard
from parameter_server.shards.ticket import Ticket
from parameter_server.statistics import Statistics
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from parameter_server.store import Array

LOOK: Final = 0.05  # seconds between looks at leases that lapse by the clock


@final
class DirectLink(Link):
    """A shard in this process; a push that must wait does so for at most `seconds`."""

    def __init__(self, shard: Shard, seconds: float = 60.0, clock: Callable[[], float] = monotonic) -> None:
        self.shard = shard
        self.seconds = seconds
        self._clock = clock

    def hello(self, client: str, attempt: int) -> Welcome:
        with self.shard.lock:
            welcome = self.shard.hello(client, attempt)
            self.shard.settled()
            return welcome

    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> tuple[str, ...]:
        with self.shard.lock:
            return self.shard.create(pieces, values)

    def push(self, push: Push) -> Answer:
        deadline = self._clock() + self.seconds
        with self.shard.lock:
            answer = self.shard.push(push)
            self.shard.settled()
            if isinstance(answer, Ticket):
                answer = self._waited(answer, deadline)
            return answer

    def pull(
        self, keys: Sequence[str], newer_than: int | None = None, into: Mapping[str, Array] | None = None
    ) -> Pulled:
        into = into or {}
        parts: dict[str, Array] = {}
        with self.shard.lock:
            pulled = self.shard.pull(keys, newer_than)
            for key, part in pulled.parts.items():
                parts[key] = into[key] if key in into else np.empty_like(part)
                np.copyto(parts[key], part)
        return Pulled(pulled.version, parts, pulled.table)

    def beat(self, client: str, attempt: int) -> None:
        with self.shard.lock:
            self.shard.beat(client, attempt)
            self.shard.settled()

    def leave(self, client: str, attempt: int) -> None:
        with self.shard.lock:
            self.shard.leave(client, attempt)
            self.shard.settled()

    def snapshot(self) -> str:
        raise StoreError("a shard in this process writes no snapshots: its numbers end with the process")

    def statistics(self) -> Statistics:
        return self.shard.statistics

    def _waited(self, ticket: Ticket, deadline: float) -> Answer:
        """The ticket's answer; lets go of the lock while it waits."""
        while ticket.answer is None:
            left = deadline - self._clock()
            if left <= 0:
                answer = self.shard.give_up(ticket)
                self.shard.settled()
                return answer
            self.shard.changed.wait(min(left, LOOK))
            self.shard.settled()
        return ticket.answer
