"""Leftovers: stored files that no search refers to, over all searches of a journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from nas.history import History
from nas.log import Header, Log
from nas.recorded import current_plan
from nas.retention import needed, superfluous
from search_spaces.decision import DecisionError
from search_spaces.space import UnfitError
from workers.artifacts import Artifacts, Stored
from workers.errors import UserError


@final
@dataclass(frozen=True)
class Leftovers:
    """The files of one search that may go, and the bytes of those that stay; `skipped` says why none was looked at."""

    search: str
    files: tuple[Stored, ...] = ()
    kept: int = 0
    skipped: str = ""
    artifacts: Artifacts | None = None

    @property
    def bytes(self) -> int:
        """How much would be free."""
        return sum(file.bytes for file in self.files)

    def remove(self) -> None:
        """Delete the files; a driver that comes later trains again what it misses."""
        for file in self.files:
            assert self.artifacts is not None
            self.artifacts.delete(self.search, file.trial, file.attempt, file.name)


def leftovers(log: Log, quota: int | None = None) -> Iterator[Leftovers]:
    """What may go, search by search; a running search looks after its own. `quota` is in bytes, for each search."""
    for header in log.searches():
        yield _of(log, header, quota)


def _of(log: Log, header: Header, quota: int | None) -> Leftovers:
    if header.driven():
        return Leftovers(header.search, skipped="it runs, and clears up by itself")
    try:
        plan = current_plan(log, header.search)
        artifacts = Artifacts.open(plan.artifacts)
        stored = artifacts.list(header.search)
        history = History.of(log.entries(header.search))
    except (UserError, DecisionError, UnfitError) as error:
        return Leftovers(header.search, skipped=str(error))
    need = needed(history, plan.objectives)
    going = superfluous(stored, history, need, plan.job.artifacts.quota if quota is None else quota)
    kept = sum(file.bytes for file in stored) - sum(file.bytes for file in going)
    return Leftovers(header.search, tuple(going), kept, artifacts=artifacts)
