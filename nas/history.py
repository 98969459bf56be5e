"""History: what the entries of a journal say about a search, folded into its trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, final

from nas.ranking import front, gains
from workers.objectives import Objective, Outcome
from workers.trial import Attempt, Json, Result, Trial

Gains: TypeAlias = tuple[float, ...]
APART = ("final", "test")  # arms after the search
BESIDE = ("proxy", "rescore", *APART)  # arms that are no trainings of the search proper


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a journal: its place in the order, when, what kind, which trial, and the details as plain JSON.

    `sequence` is 0 until the row is written; `time` is in seconds since 1970.

    | kind | body |
    |---|---|
    | driver | epoch, host, pid, versions: a driver took the search over |
    | ask | a trial |
    | attempt | number: the trial is issued to a worker |
    | tell | a result |
    | progress | attempt, epoch, metrics |
    | slots | total: how many slots the pool has from now on |
    | request | kind (stop, extend, enqueue, learn) and its details |
    | applied | request: the sequence of the request that took effect here |
    | artifact | attempt, name, bytes, digest; or name and `deleted` |
    | note | text: something a person should know; `aside` where the trial's result is kept from the strategy |
    | state | state (interrupted, stopped, finished, failed), reason: the driver let the search go |
    """

    sequence: int
    time: float
    kind: str
    trial: int | None
    body: Mapping[str, Json]


def spell(entry: Entry, before: float | None) -> float:
    """The seconds of work between an entry and the one before it: none where a driver has only just begun."""
    return 0.0 if before is None or entry.kind == "driver" else max(0.0, entry.time - before)


@final
@dataclass(slots=True)
class TrialRecord:
    """All that is known of one trial; `busy` holds when each attempt that is over began and ended."""

    trial: Trial
    asked_at: float
    attempts: int = 0
    attempt: Attempt | None = None
    running: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    result: Result | None = None
    losses: int = 0
    seconds: float = 0.0
    device_seconds: float = 0.0
    curve: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)
    busy: list[tuple[float, float]] = field(default_factory=list)

    @property
    def arm(self) -> str:
        """Who asked for it: `strategy`, `baseline`, `enqueued`, `rescore`, `final` (retraining), `test`; or `proxy`."""
        arm = str(self.trial.note.get("arm", "strategy"))
        return "proxy" if self.trial.look and arm != "rescore" else arm

    @property
    def completed(self) -> bool:
        """Whether it ended with metrics that count."""
        return self.result is not None and self.result.outcome is Outcome.COMPLETED

    @property
    def full(self) -> bool:
        """Whether it is trained to the end of its schedule: neither a rung nor a proxy."""
        return self.trial.full

    def gains(self, objectives: Sequence[Objective]) -> Gains | None:
        """One number per objective, larger better; None unless completed with every metric there and a number."""
        return gains(self.result.metrics, objectives) if self.result is not None and self.completed else None


@final
class History:
    """The trials of a search in the order they were asked; fed entry by entry, by a driver and by readers alike.

    `outcomes` counts the trials that are over, `running` holds those at a worker, `pending` the requests that no
    driver has taken up, `aside` the trials whose results a strategy could not digest; `worked` are the seconds that
    drivers worked, without those between them. `stopping` is set by a driver that was told to stop, and known
    to it alone.
    """

    def __init__(self) -> None:
        self.trials: dict[int, TrialRecord] = {}
        self.running: dict[int, TrialRecord] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self.state = "created"
        self.reason = ""
        self.stopping = False
        self.notes: list[Entry] = []
        self.requests: list[Entry] = []
        self.pending: dict[int, Entry] = {}
        self.drivers: list[Entry] = []
        self.artifacts: dict[tuple[int, int, str], Mapping[str, Json]] = {}
        self.slots: list[tuple[float, int]] = []
        self.aside: set[int] = set()
        self.last_at: float | None = None
        self.worked = 0.0

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> History:
        """What all these entries come to."""
        history = cls()
        for entry in entries:
            history.feed(entry)
        return history

    def feed(self, entry: Entry) -> None:
        """Take one more entry into account; one that speaks of a trial never asked (a salvaged journal) is skipped."""
        body, kind = entry.body, entry.kind
        if kind == "ask":
            if entry.trial not in self.trials:
                self.asked(Trial.from_json(body), entry.time)
        elif kind == "attempt":
            if entry.trial in self.trials:
                self.issued(entry.trial, body["number"], entry.time)
        elif kind == "tell":
            if entry.trial in self.trials:
                self.told(Result.from_json(body), entry.time)
        else:
            self._rare(entry)
        self.at(entry)

    def at(self, entry: Entry) -> None:
        """What `feed` does about the time of an entry, for who knows already what it says."""
        if entry.kind != "request":  # which other processes write, also while no driver is at work
            self.worked += spell(entry, self.last_at)
            self.last_at = entry.time

    def asked(self, trial: Trial, time: float) -> TrialRecord:
        """A strategy gave `trial`."""
        record = self.trials[trial.id] = TrialRecord(trial, time)
        return record

    def issued(self, trial_id: int, number: int, time: float) -> Attempt:
        """The trial goes to a worker for the `number`th time."""
        record = self.trials[trial_id]
        parent = None if record.trial.parent is None else self.trials.get(record.trial.parent)
        record.attempt = Attempt(record.trial, number, parent and (parent.attempt or Attempt(parent.trial)))
        record.attempts, record.running, record.started_at = number, True, time
        self.running[trial_id] = record
        return record.attempt

    def told(self, result: Result, time: float) -> None:
        """An attempt is over, and with it the trial unless it is to be issued again."""
        record = self.trials[result.trial_id]
        self._over(record, time)
        record.seconds += result.seconds
        record.device_seconds += result.device_seconds
        record.losses += result.outcome is Outcome.LOST
        if result.outcome.charged and record.result is None:
            record.result, record.ended_at = result, time
            self.outcomes[result.outcome] += 1

    def _rare(self, entry: Entry) -> None:
        body = entry.body
        match entry.kind:
            case "progress" if entry.trial in self.trials:
                self._learned(self.trials[entry.trial].curve, body)
            case "slots":
                self.slots.append((entry.time, body["total"]))
            case "note":
                self.notes.append(entry)
                if body.get("aside") and entry.trial is not None:
                    self.aside.add(entry.trial)
            case "request":
                self.requests.append(entry)
                self.pending[entry.sequence] = entry
            case "applied":
                self.pending.pop(body["request"], None)
            case "artifact" if entry.trial is not None:
                self.artifacts[entry.trial, body.get("attempt", 0), body["name"]] = body
            case "driver" | "state":
                self._idle()
                self.state = body.get("state", "running")
                self.reason = body.get("reason", "")
                if entry.kind == "driver":
                    self.drivers.append(entry)

    @staticmethod
    def _learned(curve: list[tuple[int, Mapping[str, float]]], body: Mapping[str, Json]) -> None:
        """One more epoch; an attempt that goes on from an earlier state takes the place of what came after it."""
        while curve and curve[-1][0] >= body["epoch"]:
            curve.pop()
        curve.append((body["epoch"], body["metrics"]))

    def _idle(self) -> None:
        """What ran, ran until the last thing known of the driver that is gone."""
        for record in list(self.running.values()):
            self._over(record, self.last_at or 0.0)

    def _over(self, record: TrialRecord, time: float) -> None:
        if record.running and record.started_at is not None:
            record.busy.append((record.started_at, max(time, record.started_at)))
        record.running = False
        self.running.pop(record.trial.id, None)

    def waiting(self) -> list[int]:
        """The trials that were asked and have no result, in order."""
        return [trial for trial, record in self.trials.items() if record.result is None]

    def searched(self) -> list[TrialRecord]:
        """The trainings of the search proper: no proxies, nothing scored again, neither the retraining nor the test."""
        return [record for record in self.trials.values() if record.arm not in BESIDE]

    def ranked(self, objectives: Sequence[Objective], arm: str | None = None) -> list[tuple[TrialRecord, Gains]]:
        """The completed trials of the search (of one arm) that are `full`, with their gains, oldest first."""
        found = ((r, r.gains(objectives)) for r in self.searched() if r.full and (arm is None or r.arm == arm))
        return [(record, gains) for record, gains in found if gains is not None]

    def best(self, objective: Objective, count: int = 1, arm: str | None = None) -> list[TrialRecord]:
        """The `count` best of the `ranked` trials by one objective, best first; ties go to the earlier."""
        ranked = sorted(self.ranked([objective], arm), key=lambda pair: -pair[1][0])
        return [record for record, _ in ranked[:count]]

    def front(self, objectives: Sequence[Objective], arm: str | None = None) -> list[TrialRecord]:
        """The Pareto front of the `ranked` trials, the best by the first objective first; equals stay together."""
        found = self.ranked(objectives, arm)
        return [found[place][0] for place in front([gains for _, gains in found])]

    def arms(self) -> dict[str, list[TrialRecord]]:
        """The trials of each arm, in the order they were asked."""
        arms: dict[str, list[TrialRecord]] = {}
        for record in self.trials.values():
            arms.setdefault(record.arm, []).append(record)
        return arms

    def busy(self) -> float:
        """The seconds in which at least one trial ran."""
        total, reached = 0.0, -math.inf
        for start, end in sorted(span for record in self.trials.values() for span in record.busy):
            total += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return total
