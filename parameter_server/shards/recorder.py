"""Recorder: what writes pushes down before they are acknowledged, where a store must outlive a loss of power."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parameter_server.link import Push
from parameter_server.piece import Piece

if TYPE_CHECKING:
    from parameter_server.store import Array


class Recorder(ABC):
    """A log of updates, in the order in which a shard takes them."""

    @abstractmethod
    def record(self, version: int, pushes: Sequence[Push]) -> None:
        """Write down that these pushes make up the update that leads to `version`; durable when it returns.

        Raises `OSError` where it cannot (a full disk): the pushes are refused, and the log is as it was. A shard may
        die between this and its commit; what it then records first after coming back has the same version.
        """

    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> None:
        """Write down that these pieces are about to be added, as `record` does for pushes."""

    def enter(self, client: str, attempt: int) -> None:
        """Write down that a client is about to be known in this attempt only, as `record` does for pushes."""

    def withdraw(self) -> None:
        """Take the last record back: what it announces could not be done."""
