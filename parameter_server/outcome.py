"""Outcome: what became of a push; every one has its counter."""

from __future__ import annotations

from enum import StrEnum
from typing import final


@final
class Outcome(StrEnum):
    """What a shard says of one push; whatever is not `applied` changed nothing."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"  # it was applied before, and is not again: for who pushes, as good as applied
    LATE = "late"  # its round of a synchronous store was closed without it, by backup workers
    STALE = "stale"  # its parameters are older than a bounded store takes: pull, and compute again
    BUSY = "busy"  # too much is under way: send the same again, a little later
    WAITING = "waiting"  # the barrier or the bound held it back for as long as it could wait: send the same again
    FENCED = "fenced"  # another attempt, or the driver of another epoch, has taken over: stop
    UNKNOWN_CLIENT = "unknown_client"  # its lease lapsed, or it never said hello: say hello, send the same again
    UNKNOWN_NAME = "unknown_name"
    WRONG_SHAPE = "wrong_shape"
    WRONG_DTYPE = "wrong_dtype"
    NOT_FINITE = "not_finite"
    FROM_THE_FUTURE = "from_the_future"
    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"
    CORRUPTED = "corrupted"  # a checksum does not fit: send the same again
    MOVED = "moved"  # the table of pieces changed: fetch it, send the same again
    UNAUTHENTICATED = "unauthenticated"

    @property
    def counted(self) -> bool:
        """Whether the push is in the parameters, once."""
        return self in (Outcome.APPLIED, Outcome.DUPLICATE)

    @property
    def again(self) -> bool:
        """Whether the same push, sent again, can succeed."""
        return self in (
            Outcome.BUSY,
            Outcome.WAITING,
            Outcome.UNKNOWN_CLIENT,
            Outcome.CORRUPTED,
            Outcome.TRUNCATED,
            Outcome.MOVED,
        )
