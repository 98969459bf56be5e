"""Ticket: a push that waits on a shard, for its round to be complete or for slower clients to catch up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from parameter_server.link import Answer, Push


@final
@dataclass(slots=True, eq=False)
class Ticket:
    """What a caller holds instead of an answer; `answer` is filled in when there is one, under the shard's lock."""

    answer: Answer | None = None


@final
@dataclass(slots=True, eq=False)
class Waiting:
    """A push that waits, with copies of its gradients; who sent it more than once holds more than one ticket."""

    push: Push
    ledgers: Sequence[int]  # those that it was not counted on before
    since: float
    tickets: list[Ticket] = field(default_factory=list)
