"""Watcher: sees a search from inside its driver, and tells others of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import final

from nas.history import History
from nas.strategy import Strategy
from nas.timing import Timing
from workers.errors import in_words
from workers.objectives import Objective
from workers.pool import Pool
from workers.trial import Json


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
    the journal says so.
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
    """All watchers of a search as one that never fails; what goes wrong with one of them is handed to `note`."""

    def __init__(self, watchers: Sequence[Watcher], note: Callable[[str], None]) -> None:
        self._watchers = list(watchers)
        self._note = note

    def turn(self, history: History, pool: Pool) -> None:
        """Pass a turn of the loop on."""
        for watcher in self._watchers[:]:
            self._safely(watcher, lambda watcher=watcher: watcher.turn(history, pool))  # type: ignore[misc]

    def end(self, history: History, state: str, reason: str) -> None:
        """Pass on that the driver lets go."""
        for watcher in self._watchers[:]:
            self._safely(watcher, lambda watcher=watcher: watcher.end(history, state, reason))  # type: ignore[misc]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for watcher in self._watchers[:]:
            self._safely(watcher, watcher.close)

    def _safely(self, watcher: Watcher, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self._watchers.remove(watcher)
            with suppress(Exception):
                watcher.close()
            self._note(f"{type(watcher).__name__} watches no longer: {in_words(error)}")
