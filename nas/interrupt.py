"""Interrupt: Ctrl-C once finishes what runs, twice stops now; SIGTERM finishes what it can before a deadline."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Protocol, final

GRACE = 20.0  # seconds after SIGTERM: Kubernetes kills after 30


class Stoppable(Protocol):
    """What can be asked to stop."""

    def stop(self, now: bool = False) -> None:
        """Ask for nothing more; with `now`, do not even wait for what runs."""


@final
class Interrupt:
    """Passes signals on to `journal` while it is entered; in another thread than the main one it does nothing.

    A third Ctrl-C is left to Python. `reason` says what came, and is empty while nothing did.
    """

    def __init__(self, journal: Stoppable, grace: float = GRACE, clock: Callable[[], float] = time.monotonic) -> None:
        self.journal = journal
        self.grace = grace
        self.reason = ""
        self._clock = clock
        self._deadline: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupted)
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._terminated)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def tick(self) -> None:
        """Stop at once when the deadline has passed."""
        if self._deadline is not None and self._clock() >= self._deadline:
            self.journal.stop(now=True)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self.reason:
            self.reason = "Ctrl-C twice"
            self.journal.stop(now=True)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        else:
            self.reason = "Ctrl-C"
            self.journal.stop()

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        self.reason = self.reason or "SIGTERM"
        if self._deadline is None:
            self._deadline = self._clock() + self.grace
        self.journal.stop()
