"""Application: a push that is applied while its gradients still come in, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from parameter_server.link import Answer, Push
from parameter_server.outcome import Outcome
from parameter_server.shards.admission import RefusedError, not_finite
from parameter_server.shards.state import Counting
from parameter_server.store import PushId

if TYPE_CHECKING:
    from parameter_server.shards.shard import Shard
    from parameter_server.store import Array


@final
@dataclass(frozen=True, slots=True)
class Heading:
    """What is known of a push before its gradients are there: they are for all elements of `pieces[place]` each."""

    id: PushId
    base: int
    table: int
    scale: float
    places: tuple[int, ...]


@final
class Application:
    """An update under way, for as long as the shard's lock is held; exactly one of `commit` and `abort` ends it.

    `ledgers` are those that the push was not counted on before; pieces of others are left as they are. One that was
    made before its push was admitted is not ended, but adopted or forgotten; the lock may be free between its chunks.
    """

    __slots__ = ("_began", "_bytes", "_heading", "_ledgers", "_places", "_shard", "_spoilt", "_update")

    def __init__(self, shard: Shard, heading: Heading, ledgers: Sequence[int], began: float) -> None:
        self._shard = shard
        self._heading = heading
        self._update = shard.state.update(heading.base)
        self._ledgers = ledgers
        self._began = began
        of = shard.memory.book.pieces["ledger"]
        self._places = [place for place in heading.places if of[place] in ledgers]
        self._spoilt: int | None = None
        self._bytes = 0

    @property
    def stands(self) -> bool:
        """Whether further chunks are of use: nobody wrote over those that came, and all are finite."""
        return self._spoilt is None and self._update.stands

    def adopt(self, early: Application) -> bool:
        """Go on with the same push's chunks that were stepped before it was admitted; False where they are lost."""
        if (early._heading, [*early._ledgers]) != (self._heading, [*self._ledgers]) or not early._update.stands:
            return False
        self._update, self._spoilt, self._bytes = early._update, early._spoilt, early._bytes
        return True

    def chunk(self, place: int, start: int, gradient: Array) -> bool:
        """Step the elements from `start` of `pieces[place]`; False when the gradient is not finite: abort then."""
        self._bytes += gradient.nbytes
        if place not in self._places:
            return True
        if self._update.dense(place, start, gradient, self._heading.scale):
            return True
        self._spoilt = place
        return False

    def commit(self) -> Answer:
        """Make the update count; one that is not finite or not complete is refused."""
        shard, heading = self._shard, self._heading
        shard.statistics.bytes_in += self._bytes
        try:
            if self._spoilt is not None:
                raise not_finite(shard.memory.pieces[self._spoilt])
            if self._update.missing(self._places):
                raise RefusedError(Outcome.TRUNCATED, "some gradients of the push did not come: send it again")
            push = Push(heading.id, heading.base, heading.table, (), heading.scale)
            version = shard.state.commit(self._update, [Counting(push, self._ledgers)])
            return shard.applied(heading.base, version, self._began)
        except RefusedError as error:
            return shard.refused(error.outcome, error.reason)

    def abort(self, outcome: Outcome, reason: str) -> Answer:
        """Leave the shard as it was."""
        self._shard.statistics.bytes_in += self._bytes
        return self._shard.refused(outcome, reason)
