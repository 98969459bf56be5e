"""Handshakes: connections that came to nothing; gRPC turns a bad certificate away before any of our code is asked."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock
from typing import Final, final

REMEMBERED: Final = 4096  # connections that have made a call; and handshakes that have not led to one yet


@final
class Handshakes:
    """Tells connections that make no call within `patience` seconds of their handshake, by counting both.

    A client connects because it has something to say, so what says nothing was turned away, or is no client.
    """

    def __init__(self, clock: Callable[[], float], patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._lock = Lock()
        self._begun: deque[float] = deque(maxlen=REMEMBERED)
        self._peers: OrderedDict[str, None] = OrderedDict()

    def begin(self) -> None:
        """A handshake begins."""
        with self._lock:
            self._begun.append(self._clock())

    def call(self, peer: str) -> None:
        """A connection makes a call; the first one proves that its handshake went well."""
        with self._lock:
            if peer not in self._peers:
                if self._begun:
                    self._begun.pop()  # of those under way the latest, for older ones are the likelier to have failed
                if len(self._peers) == REMEMBERED:
                    self._peers.popitem(last=False)
            self._peers[peer] = None
            self._peers.move_to_end(peer)

    def failed(self) -> int:
        """How many handshakes have come to nothing since this was last asked."""
        with self._lock:
            due, count = self._clock() - self._patience, 0
            while self._begun and self._begun[0] <= due:
                self._begun.popleft()
                count += 1
            return count
