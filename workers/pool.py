"""Pool: machines that take attempts and answer with events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, final

from workers.trial import Attempt, Result


@final
@dataclass(frozen=True, slots=True)
class Progress:
    """The metrics of one epoch of a running attempt; may be lost, and never reaches a strategy."""

    trial_id: int
    attempt: int
    epoch: int
    metrics: Mapping[str, float]


@final
@dataclass(frozen=True, slots=True)
class Slots:
    """The pool now has `total` slots: a machine joined or left."""

    total: int


@final
@dataclass(frozen=True, slots=True)
class Notice:
    """What people should know of the pool: what it waits for, or that it waits no more."""

    text: str


Event: TypeAlias = Result | Progress | Slots | Notice


class Pool(ABC):
    """Runs attempts, at most `free` more of them at once.

    Losing a worker is a `Result` with outcome `lost`, not an exception.
    """

    @property
    @abstractmethod
    def free(self) -> int:
        """How many attempts can be submitted now; 0 while there is no machine at all."""

    @property
    @abstractmethod
    def busy(self) -> int:
        """How many attempts were submitted and have not ended in a `Result`."""

    @abstractmethod
    def submit(self, attempt: Attempt) -> None:
        """Start `attempt`; it ends in exactly one `Result` from `wait`."""

    @abstractmethod
    def wait(self, timeout: float = 1.0) -> list[Event]:
        """The events since the last call, after at most `timeout` seconds; may be empty."""

    @abstractmethod
    def close(self) -> None:
        """Stop every worker at once; attempts that were running end in no result. May be called twice."""
