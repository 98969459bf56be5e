"""Room: how much may come in at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import final

from parameter_server.outcome import Outcome
from parameter_server.store import StoreError


@final
class Room:
    """Bytes of pushes that are coming in, by shard: many clients at once must not fill the memory."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[int, int] = {}

    @contextmanager
    def taken(self, shard: int, size: int, most: int) -> Iterator[None]:
        """Hold so many bytes; raises `StoreError` where pushes hold too many already. A push alone always fits."""
        with self._lock:
            held = self._held.get(shard, 0)
            if held and held + size > most:
                raise StoreError(
                    f"pushes of {held} bytes are coming in, and with {size} more they would hold more than {most}: "
                    "send it again",
                    Outcome.BUSY,
                )
            self._held[shard] = held + size
        try:
            yield
        finally:
            with self._lock:
                self._held[shard] -= size
