"""Watcher: sees a search from inside its driver, and tells others of it."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Final, final

from nas.history import History
from nas.log import Superseded
from nas.strategy import Strategy
from nas.timing import Timing
from workers.errors import UserError, in_words
from workers.objectives import Objective
from workers.pool import Pool
from workers.redaction import redacted_text
from workers.trial import Json

SLOW: Final = 5.0  # seconds for which a watcher may keep the driver before people are told
LOOK: Final = 1.0  # seconds between looks at that


@final
@dataclass(frozen=True)
class Watched:
    """What a watcher is told of its search when it begins.

    `folder` is the search's own one on the driver's machine, `home` that of all searches there; `timing` has what the
    driver measures of itself, and `strategy` may be looked at, never asked or told.
    """

    search: str
    job: Mapping[str, Json]
    objectives: tuple[Objective, ...]
    folder: Path
    home: Path
    strategy: Strategy
    timing: Timing

    def beside(self, path: str) -> Path:
        """A path that the job names: `~` is its user's home, and what is relative begins at the job's folder."""
        return Path(str(self.job.get("folder") or "")) / Path(path).expanduser()


class Watcher(ABC):
    """Sees a search from inside its driver: quick, and never in its way.

    A subclass takes what is `Watched`, then its options by name. Once it raises, it is no longer called, and a note in
    the journal says so. The driver waits for it, however long it takes: what is slow belongs into a thread of its own.
    """

    @classmethod
    def check(cls, options: Mapping[str, Json]) -> None:
        """Raise `UserError` where options do not fit each other: before anything runs, perhaps on another machine."""

    @abstractmethod
    def turn(self, history: History, pool: Pool) -> None:
        """A turn of the loop is over; there may be thousands per second."""

    def end(self, history: History, state: str, reason: str) -> None:
        """The driver lets go: the search is finished, stopped, interrupted or failed."""

    def close(self) -> None:
        """Let go of ports, files and threads; the last call, whatever happened before."""


@final
class Watchers(AbstractContextManager["Watchers"]):
    """All watchers of a search as one that never fails; what goes wrong with one of them is handed to `note`.

    One that keeps the driver is named on stderr while it does, and in a note once it has let go. An error that ends the
    driver is told as the end of the search, unless another driver has it now.
    """

    def __init__(self, watchers: Sequence[Watcher], note: Callable[[str], None], history: History) -> None:
        self._watchers = list(watchers)
        self._note = note
        self._history: History | None = history  # None: the end was told
        self._called: tuple[str, float] | None = None
        self._slow: list[Watcher] = []
        self._over = Event()
        self._thread = Thread(target=self._look_out, name="watchers", daemon=True)

    def __enter__(self) -> Watchers:
        self._thread.start()
        return self

    def turn(self, history: History, pool: Pool) -> None:
        """Pass a turn of the loop on."""
        for watcher in self._watchers[:]:
            if (took := self._safely(watcher, lambda watcher=watcher: watcher.turn(history, pool))) > SLOW:  # type: ignore[misc]
                self._blame(watcher, took)

    def end(self, history: History, state: str, reason: str) -> None:
        """Pass on that the driver lets go."""
        self._history, reason = None, redacted_text(reason)
        for watcher in self._watchers[:]:
            self._safely(watcher, lambda watcher=watcher: watcher.end(history, state, reason))  # type: ignore[misc]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._history is not None and isinstance(error, Exception) and not isinstance(error, Superseded):
            self.end(self._history, "failed", str(error) if isinstance(error, UserError) else in_words(error))
        for watcher in self._watchers[:]:
            self._safely(watcher, watcher.close)
        self._over.set()
        self._thread.join()

    def _safely(self, watcher: Watcher, call: Callable[[], None]) -> float:
        """The seconds that a call took; one that failed is the last to that watcher."""
        began = time.monotonic()
        self._called = type(watcher).__name__, began
        try:
            call()
        except Exception as error:
            self._watchers.remove(watcher)
            with suppress(Exception):
                watcher.close()
            self._note(f"{type(watcher).__name__} watches no longer: {in_words(error)}")
        finally:
            self._called = None
        return time.monotonic() - began

    def _blame(self, watcher: Watcher, took: float) -> None:
        """Note once that a watcher kept the driver."""
        if watcher not in self._slow:
            self._slow.append(watcher)
            text = f"{type(watcher).__name__} kept the search waiting for {took:.0f} s"
            self._note(f"{text}: let it do what is slow in a thread of its own, or leave it out of watch")

    def _look_out(self) -> None:
        """Name on stderr who keeps the driver, once for each call: it may never come back, and nobody else can tell."""
        said = None
        while not self._over.wait(LOOK):
            called = self._called
            if called is not None and called is not said and time.monotonic() - called[1] > SLOW:
                said = called
                sys.stderr.write(f"{called[0]}, which watches the search, keeps it waiting, for {SLOW:g} s by now\n")
