"""Members: the clients of a shard; their attempts, which the book keeps, and their leases, which end by the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from parameter_server.outcome import Outcome
from parameter_server.policy import Bounded, Policy
from parameter_server.shards.admission import LARGEST, attempt_of
from parameter_server.shards.clocks import catch_up
from parameter_server.shards.leases import Leases
from parameter_server.shards.state import State
from parameter_server.statistics import Statistics
from parameter_server.store import FencedError, StoreError


@final
class Members:
    """Who may push to a shard."""

    def __init__(self, state: State, policy: Policy, statistics: Statistics) -> None:
        self._state = state
        self._policy = policy
        self._statistics = statistics
        self._leases = Leases(policy.lease)

    def __contains__(self, client: str) -> bool:
        return client in self._leases

    def __iter__(self) -> Iterator[str]:
        return iter(self._leases)

    def __len__(self) -> int:
        return len(self._leases)

    def lapse(self, now: float, waits: Callable[[str], bool]) -> None:
        """End the leases whose time is over, except of who waits."""
        gone = self._leases.lapse(now, waits)
        if gone:
            self._statistics.leases_lapsed += len(gone)
            self._statistics.clients = len(self._leases)

    def renew(self, client: str, now: float) -> None:
        """Renew a lease that has not lapsed."""
        if client in self._leases:
            self._leases.renew(client, now)

    def join(self, client: str, attempt: int, now: float) -> bool:
        """Give or renew a lease; whether this attempt is a new one. Raises `FencedError` for one that is too low."""
        known = self._not_fenced(client, attempt)
        if known != attempt or client not in self._leases:
            self._enter(client, attempt)
        self._leases.renew(client, now)
        self._statistics.clients = len(self._leases)
        return known is not None and known != attempt

    def leave(self, client: str, attempt: int) -> None:
        """Give up a lease."""
        self._not_fenced(client, attempt)
        self._leases.drop(client)
        self._statistics.clients = len(self._leases)

    def _enter(self, client: str, attempt: int) -> None:
        """Write a client's attempt and clock into the book, and make them durable."""
        memory = self._state.memory
        changed = self._state.enter(client, attempt)
        if client not in self._leases and isinstance(self._policy.mode, Bounded):
            changed |= catch_up(memory.book, client, self._policy.mode.staleness)
        if changed:
            memory.commit(())

    def _not_fenced(self, client: str, attempt: int) -> int | None:
        known = attempt_of(self._state.memory.book, client)
        if known is not None and attempt < known:
            raise FencedError(
                f"attempt {known} of {client} has taken over from attempt {attempt}: stop it", Outcome.FENCED
            )
        if not 0 <= attempt < LARGEST:
            raise StoreError(f"attempt {attempt} of {client}: attempts are numbered from 0 to below 2**62")
        return known
