"""Waking: a descriptor to select on, which can be read when a signal has come."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Mapping
from typing import final


@final
class Waking:
    """Calls `handlers` for signals, in the main thread, and wakes whoever waits for `fileno`; one per process."""

    def __init__(self, handlers: Mapping[int, Callable[[int, object], None]]) -> None:
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def fileno(self) -> int:
        return self._woken.fileno()

    def clear(self) -> None:
        """Forget what has come, so that the next signal wakes again."""
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)

    def close(self) -> None:
        """Have signals do what they did before."""
        signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, before)
        self._woken.close()
        self._waker.close()
