"""History: what the entries of a journal say about a search, folded into its trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import final

from workers.objectives import Objective, Outcome
from workers.trial import Json, Result, Trial


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a journal: its place in the order, when, what kind, which trial, and the details as plain JSON.

    | kind | body |
    |---|---|
    | driver | epoch, host, pid, versions: a driver took the search over |
    | ask | a trial |
    | attempt | number, parent: the trial is issued to a worker |
    | tell | a result |
    | progress | attempt, epoch, metrics |
    | request | kind (stop, extend, enqueue) and its details |
    | artifact | attempt, name, bytes, digest; or name and `deleted` |
    | note | text: something a person should know (a result set aside, a salvage) |
    | state | state (running, interrupted, stopped, finished, failed), reason |
    """

    sequence: int
    time: float
    kind: str
    trial: int | None
    body: Mapping[str, Json]


@final
@dataclass(slots=True)
class TrialRecord:
    """All that is known of one trial."""

    trial: Trial
    asked_at: float
    attempts: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    result: Result | None = None
    losses: int = 0
    curve: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)

    @property
    def arm(self) -> str:
        """Who asked for it: `strategy`, `baseline`, `enqueued`, `final` (retraining) or `test`."""
        return str(self.trial.note.get("arm", "strategy"))

    @property
    def running(self) -> bool:
        return self.result is None and self.attempts > 0

    @property
    def completed(self) -> bool:
        return self.result is not None and self.result.outcome is Outcome.COMPLETED


@final
class History:
    """The trials of a search in the order they were asked; fed entry by entry, by a driver and by readers alike."""

    def __init__(self) -> None:
        self.trials: dict[int, TrialRecord] = {}
        self.state = "created"
        self.reason = ""
        self.notes: list[Entry] = []
        self.requests: list[Entry] = []
        self.drivers: list[Entry] = []
        self.first_at: float | None = None
        self.last_at: float | None = None

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> History:
        history = cls()
        for entry in entries:
            history.feed(entry)
        return history

    def feed(self, entry: Entry) -> None:
        """Take one more entry into account."""
        self.first_at = entry.time if self.first_at is None else self.first_at
        self.last_at = entry.time
        getattr(self, f"_{entry.kind}", lambda _: None)(entry)

    def searched(self) -> list[TrialRecord]:
        """The trials of the search proper: neither the final retraining nor the test."""
        return [record for record in self.trials.values() if record.arm not in ("final", "test")]

    def best(self, objective: Objective, count: int = 1, arm: str | None = None) -> list[TrialRecord]:
        """The `count` best completed trials of the search by one objective, best first; ties go to the earlier."""
        ranked = [r for r in self.searched() if r.completed and (arm is None or r.arm == arm)]
        ranked = [r for r in ranked if r.result and objective.metric in r.result.metrics]
        ranked.sort(key=lambda r: -objective.gain(r.result.metrics[objective.metric]) if r.result else 0.0)
        return ranked[:count]
