"""A link whose calls a test can listen to, answer itself, or lose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from parameter_server.link import Answer, Link, Pulled, Push, Welcome
from parameter_server.links.direct import DirectLink
from parameter_server.piece import Piece
from parameter_server.policy import Policy
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard
from parameter_server.statistics import Statistics

if TYPE_CHECKING:
    from parameter_server.store import Array

Calls = Callable[[str, Callable[[], Any]], Any]


class UnreliableLink(Link):
    """Every call is given to `through`: its method's name, and what makes it."""

    def __init__(self, link: Link, through: Calls) -> None:
        self.link = link
        self.through = through

    def hello(self, client: str, attempt: int) -> Welcome:
        welcome: Welcome = self.through("hello" if client else "look", lambda: self.link.hello(client, attempt))
        return welcome

    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> tuple[str, ...]:
        keys: tuple[str, ...] = self.through("create", lambda: self.link.create(pieces, values))
        return keys

    def push(self, push: Push) -> Answer:
        answer: Answer = self.through("push", lambda: self.link.push(push))
        return answer

    def pull(
        self, keys: Sequence[str], newer_than: int | None = None, into: Mapping[str, Array] | None = None
    ) -> Pulled:
        pulled: Pulled = self.through("pull", lambda: self.link.pull(keys, newer_than, into))
        return pulled

    def beat(self, client: str, attempt: int) -> None:
        self.through("beat", lambda: self.link.beat(client, attempt))

    def leave(self, client: str, attempt: int) -> None:
        self.through("leave", lambda: self.link.leave(client, attempt))

    def snapshot(self) -> str:
        path: str = self.through("snapshot", self.link.snapshot)
        return path

    def statistics(self) -> Statistics:
        return self.link.statistics()


def shards_of(policy: Policy, shards: int) -> list[Shard]:
    """Shards in this process, with nothing in them."""
    return [Shard(number, shards, HeapMemory(), policy, clock=monotonic) for number in range(shards)]


def links_to(shards: Sequence[Shard], seconds: float = 60.0) -> list[DirectLink]:
    return [DirectLink(shard, seconds) for shard in shards]
