"""A strategy that keeps a tally of what it hears, a pool that is told what to answer, and a process to kill."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any, final

from nas.history import Entry, History
from nas.journal import Journal
from nas.log import Log
from nas.strategy import Draw, Setting, Strategy
from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from workers.objectives import Direction, Objective, Outcome
from workers.pool import Event, Pool
from workers.trial import Attempt, Result, Trial

ACCURACY = Objective("accuracy", Direction.MAXIMIZE)
SETTING = Setting(Decisions({"x": Choice((1, 2, 3)), "y": Choice(("a", "b"))}), (ACCURACY,), seed=7)


@final
class Tally(Strategy):
    """Draws `budget` trials at random; every third continues the trial before. Writes down all it hears, in order."""

    def __init__(self, budget: int = 5, chokes_on: int | None = None) -> None:
        super().__init__(SETTING)
        self.budget, self.chokes_on = budget, chokes_on
        self.heard: list[tuple[str, object]] = []
        self.queue: list[Candidate] = []
        self.asks = 0

    @property
    def exhausted(self) -> bool:
        return self.asks >= self.budget

    def propose(self, draw: Draw) -> Trial | None:
        if self.exhausted:
            return None
        candidate = self.queue[0] if self.queue else self.setting.decisions.sample(draw.generator())
        parent = draw.trial - 1 if draw.trial % 3 == 2 else None
        return Trial(draw.trial, candidate, parent=parent, note={"queued": True} if self.queue else {})

    def asked(self, trial: Trial) -> None:
        if trial.note:
            self.queue.remove(trial.candidate)
        self.asks += 1
        self.heard.append(("asked", trial))

    def told(self, result: Result) -> None:
        if result.trial_id == self.chokes_on and result.outcome is Outcome.COMPLETED:
            raise KeyError("accuracy")
        self.heard.append(("told", (result.trial_id, result.outcome, dict(result.metrics))))

    def enqueue(self, candidate: Candidate) -> None:
        self.queue.append(self.setting.decisions.candidate(candidate))
        self.heard.append(("enqueue", candidate))

    def extend(self, body: dict[str, Any]) -> None:
        self.budget += body["trials"]
        self.heard.append(("extend", body["trials"]))


def answer(attempt: Attempt, outcome: Outcome = Outcome.COMPLETED) -> Result:
    """What a worker would say."""
    metrics = {"accuracy": attempt.trial.id / 10} if outcome is Outcome.COMPLETED else {}
    return Result(attempt.trial.id, attempt.number, outcome, metrics, epochs=1, seconds=2.0)


@final
class ScriptedPool(Pool):
    """Answers every attempt at the next `wait`, with `script(attempt)`; None: not yet. Remembers what it was given."""

    def __init__(self, slots: int = 1, script: Callable[[Attempt], Event | None] = answer) -> None:
        self.slots, self.script = slots, script
        self.submitted: list[Attempt] = []
        self.running: list[Attempt] = []

    @property
    def free(self) -> int:
        return self.slots - len(self.running)

    @property
    def busy(self) -> int:
        return len(self.running)

    def submit(self, attempt: Attempt) -> None:
        assert self.free > 0
        self.submitted.append(attempt)
        self.running.append(attempt)

    def wait(self, timeout: float = 1.0) -> list[Event]:
        answers = [(attempt, self.script(attempt)) for attempt in self.running]
        self.running = [attempt for attempt, event in answers if not isinstance(event, Result)]
        return [event for _, event in answers if event is not None]

    def close(self) -> None:
        self.running = []


def drive(log: Log, strategy: Strategy, force: bool = True) -> Journal:
    """A driver that takes the search over and replays it."""
    journal = Journal(log, "try", log.acquire("try", force), pulse=None)
    journal.replay(strategy)
    return journal


def kinds(log: Log, *but: str) -> list[str]:
    return [entry.kind for entry in log.entries("try") if entry.kind not in ("driver", *but)]


def see_requests(journal: Journal, strategy: Strategy) -> None:
    """Let the half second pass after which a journal looks for requests."""
    journal._look_at = 0.0
    journal.ask(strategy, 0)


def same(live: History, read: History) -> bool:
    """Equal but for the sequences of entries that the driver wrote itself, and that it was told to stop."""

    def plain(history: History) -> dict[str, Any]:
        def bare(entry: Entry) -> tuple[object, ...]:
            return entry.kind, entry.trial, entry.body

        known = dict(vars(history))
        del known["stopping"]
        for name in ("notes", "requests", "drivers"):
            known[name] = [bare(entry) for entry in known[name]]
        return known

    return plain(live) == plain(read)


def in_child(work: Callable[[], object]) -> tuple[int, Any]:
    """Run `work` in a process of its own: its exit status (negative: the signal that ended it) and its answer."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
            os._exit(0)
        except BaseException:
            os.write(writing, json.dumps(traceback.format_exc()).encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, json.loads(said) if said else None
