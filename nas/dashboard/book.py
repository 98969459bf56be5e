"""Book: one search as its pages see it, read on from where its journal was left."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event, RLock
from typing import final

from nas.dashboard.course import Course, Edge
from nas.dashboard.ledger import Ledger
from nas.dashboard.occupancy import Occupancy, Span
from nas.dashboard.thinning import Thinned
from nas.history import APART, BESIDE, Entry, History, TrialRecord
from nas.log import Header, Log
from nas.reports import facts
from nas.summary import objectives, state
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result

PAUSE = 0.5  # seconds between two looks into a journal, at least
SHARE = 0.1  # of the time may go into looking
EVENTS = 200
SIZES = ("parameters", "multiply_adds", "seconds")  # what the first objective is set against where it is alone


@final
@dataclass(frozen=True, slots=True)
class Happening:
    """Something a person should know, and when it was."""

    time: float
    kind: str
    text: str
    trial: int | None = None


def due(began: float) -> float:
    """When to look again after a look that began then and ends now."""
    now = time.monotonic()
    return now + max(PAUSE, (now - began) / SHARE)


@final
class Book:
    """A history fed entry by entry, and what charts and tables need of it, counted along.

    `lock` is held while it is read on or looked at; `version` grows with whatever changes; `count` are the entries
    read so far, also while the first reading, which `ready` waits for, is under way.
    """

    def __init__(self, log: Log, search: str) -> None:
        self.log, self.search = log, search
        self.lock = RLock()
        self.ready = Event()
        self.error: Exception | None = None
        self.replaced = False  # somebody has removed the search, and begun another one of its name
        self.header: Header = log.header(search)
        self.goals = objectives(self.header.job)
        self.history = History()
        self.version = 0
        self.count = 0
        self.used = time.monotonic()
        self.ledger = Ledger(self.goals)
        self.courses = {arm: Course(self.goals[0]) for arm in ("own", "rival")} if self.goals else {}
        self.edge: Edge | None = Edge(self.goals) if len(self.goals) > 1 else None
        self.plain: Edge | None = self.edge if len(self.goals) == 2 else None
        self.clouds = {"rival": Thinned(), "own": Thinned()}
        self.occupancy = Occupancy()
        self.happenings: deque[Happening] = deque(maxlen=EVENTS)
        self.searched = 0
        self.apart: list[TrialRecord] = []
        self.drawn: tuple[object, Mapping[str, str]] | None = None
        self.outcomes: Counter[str] = Counter()
        self.losses: dict[int, list[Result]] = {}
        self._sequence = 0
        self._due = 0.0
        self._state = ""

    @property
    def state(self) -> str:
        """How the search stands; `abandoned` where it says that it runs, but has no driver."""
        return state(self.header)

    @property
    def ended(self) -> int:
        """How many trials of the search proper are over; `searched` were asked, `outcomes` says how they ended."""
        return self.outcomes.total()

    @property
    def running(self) -> Sequence[TrialRecord]:
        """The trials at a worker, the longest-running first; none where nobody drives the search."""
        records = self.history.running.values() if self.state == "running" else ()
        return sorted(records, key=lambda record: record.started_at or 0.0)

    def catch_up(self) -> None:
        """Read what has been written since the last time; at once where that was just now."""
        with self.lock:
            began = time.monotonic()
            if began < self._due and self.ready.is_set():
                return
            before = self.count
            if self.log.header(self.search).created != self.header.created:
                self.replaced = True
                return
            for entry in self.log.entries(self.search, after=self._sequence):
                self._take(entry)
                self._sequence = entry.sequence
                self.count += 1
            self.header = self.log.header(self.search)  # after that, which may take a minute: is its driver alive?
            now = self.state
            if self.count != before or now != self._state:
                self.version += 1
            self._state = now
            self._due = due(began if self.ready.is_set() else time.monotonic())  # all is read once only
            self.ready.set()

    def fail(self, error: Exception, began: float) -> None:
        """Show `error` for this search, until it is time to try again."""
        self.error, self._due = error, due(began)
        self.ready.set()

    @property
    def stale(self) -> bool:
        """Whether the search is to be read anew, from its beginning."""
        return self.replaced or (self.error is not None and time.monotonic() >= self._due)

    def spans(self, now: float) -> list[Span]:
        """The attempts that run, up to `now`."""
        return [Span(one.trial.id, one.started_at or now, now, "running") for one in self.running]

    def _take(self, entry: Entry) -> None:
        stopped: Iterable[TrialRecord] = ()
        if entry.kind in ("driver", "state"):
            stopped = list(self.history.running.values())
        record = None if entry.trial is None else self.history.trials.get(entry.trial)
        known = record is not None
        ran, new = (record.running, record.result is None) if record is not None else (False, False)
        self.history.feed(entry)
        record = None if entry.trial is None else self.history.trials.get(entry.trial)
        if record is not None and entry.kind == "tell":
            if ran:
                self._over(record, str(entry.body["outcome"]))
            self.ledger.note(record)
            self._told(record, entry, first=new and record.result is not None)
        elif record is not None and entry.kind == "ask" and not known:
            self._asked(record)
        elif record is not None and entry.kind == "attempt":
            self.ledger.issued(record)
            self.occupancy.begin(entry.time)
        elif entry.kind in ("driver", "state", "request", "note"):
            for one in stopped:
                self._over(one, "stopped")
                self.ledger.note(one)
            self._happened(entry)

    def _asked(self, record: TrialRecord) -> None:
        self.ledger.asked(record)
        self.searched += record.arm not in BESIDE
        if record.arm in APART:
            self.apart.append(record)

    def _told(self, record: TrialRecord, entry: Entry, first: bool) -> None:
        if first and record.arm not in BESIDE:
            self.outcomes[str(entry.body["outcome"])] += 1
            if self.goals:
                self._scored(record)
        elif first and record.arm in APART:
            text = f"the {'test' if record.arm == 'test' else 'retraining'} ended: {entry.body['outcome']}"
            self.happenings.append(Happening(entry.time, "final", text, record.trial.id))
        elif record.result is None:
            self._lost(Result.from_json(entry.body), record, entry)

    def _lost(self, result: Result, record: TrialRecord, entry: Entry) -> None:
        self.losses.setdefault(record.trial.id, []).append(result)
        if result.outcome is Outcome.LOST:
            why = f": {result.error}" if result.error else ""
            text = f"attempt {result.attempt} was lost{why}"
            self.happenings.append(Happening(entry.time, "lost", text, record.trial.id))

    def _scored(self, record: TrialRecord) -> None:
        self.courses["own" if record.arm in facts.OWN else "rival"].ended(record)
        if not record.full or not record.completed:
            return
        if self.edge is not None:
            self.edge.ended(record)
        if self.plain is None:
            self.plain = self._measured(record)
        if self.plain is None or (self.plain is not self.edge and not self.plain.ended(record)):
            return
        first, second = self.plain.objectives[:2]
        metrics = record.result.metrics if record.result else {}
        if first.metric in metrics and second.metric in metrics:
            style = "own" if record.arm in facts.OWN else "rival"
            self.clouds[style].add(metrics[second.metric], metrics[first.metric], record.trial.id)

    def _measured(self, record: TrialRecord) -> Edge | None:
        """The front of the chart: of the first two objectives, else of the first and the size."""
        if len(self.goals) > 1:
            return Edge(self.goals[:2])
        metrics = record.result.metrics if record.result else {}
        found = (Objective(name, Direction.MINIMIZE) for name in SIZES if name in metrics)
        second = next((one for one in found if one.metric != self.goals[0].metric), None)
        return None if second is None else Edge((self.goals[0], second))

    def _over(self, record: TrialRecord, ending: str) -> None:
        if record.busy:
            start, end = record.busy[-1]
            self.occupancy.add(Span(record.trial.id, start, end, ending))

    def _happened(self, entry: Entry) -> None:
        body = entry.body
        match entry.kind:
            case "driver":
                text = f"a driver took it over: process {body.get('pid')} on {body.get('host')}"
            case "state":
                reason = f": {body['reason']}" if body.get("reason") else ""
                text = f"{body.get('state')}{reason}"
            case "request":
                asked = {key: value for key, value in body.items() if key not in ("kind", "observations")}
                said = f": {asked}" if asked and body.get("kind") == "extend" else ""
                text = f"somebody asked to {body.get('kind')}{said}"
            case _:
                text = str(body.get("text", ""))
        self.happenings.append(Happening(entry.time, entry.kind, text, entry.trial))
