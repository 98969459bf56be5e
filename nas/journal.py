"""Journal: a driver's handle on its search. What happens is written here before it takes effect anywhere else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event as Flag
from threading import Thread
from typing import TypeVar, final

from nas.history import Entry, History
from nas.learned import recall
from nas.log import FullError, Log, Superseded
from nas.strategy import Strategy
from nas.timing import Timing
from nas.wrapper import ASIDE
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Outcome
from workers.pool import Event, Notice, Progress
from workers.redaction import redacted_text
from workers.trial import Attempt, Json, Result, Trial

News = TypeVar("News", Trial, Result)
LOSSES = 3  # a trial that has taken so many workers with it is given up
POLL = 0.5  # seconds between looks for requests of other processes
PATIENCE = 1.0  # seconds that progress may wait to be written with something that matters
PULSE = 2.0  # seconds between heartbeats


@final
class Journal:
    """The history of a search, and the one hand that writes it.

    A turn of the loop is one commit: `tell` what happened, then `ask`, which writes both what was told and what is
    issued, and only then hands the attempts out. Superseded leaves everything as the other driver has it. With
    `pulse` a thread says that the driver is alive even while a strategy thinks for a minute.
    """

    def __init__(
        self, log: Log, search: str, epoch: int, *, pulse: float | None = PULSE, clock: Callable[[], float] = time.time
    ) -> None:
        self.log, self.search, self.epoch = log, search, epoch
        self.history = History()
        self.stopping_now = False
        self.timing = Timing()
        self._clock = clock
        self._buffer: list[Entry] = []
        self._urgent = False
        self._again: deque[int] = deque()
        self._seen = 0  # every request up to this sequence is in the history
        self._last = 0  # the last sequence of the last commit
        self._look_at = self._flush_at = time.monotonic()
        self._pulse = _Pulse(log, search, epoch, pulse) if pulse is not None else None

    def replay(self, strategy: Strategy) -> None:
        """Let a fresh `strategy` live through the search so far; what was running will be issued again."""
        notes = self.log.entries(self.search, kinds=("note",))
        self.history.aside |= {entry.trial for entry in notes if entry.body.get("aside") and entry.trial is not None}
        for entry in self.log.entries(self.search):
            self._relive(strategy, entry)
            self._seen = self._last = entry.sequence
        self._again.extend(self.history.waiting())
        self._drop_old_stops()
        self._apply_requests(strategy)
        recall(self, strategy)
        self.commit()

    def ask(self, strategy: Strategy, free: int) -> list[Attempt]:
        """What `free` slots shall run now, already written: first what has to be issued again, then what is new."""
        self._look(strategy)
        attempts: list[Attempt] = []
        if (fresh := free - len(self._again)) > 1 and not self.stopping:
            with self.timing.ask.measured():
                strategy.expect(fresh)
        while len(attempts) < free and not self.stopping and (trial := self._next(strategy)) is not None:
            attempts.append(self._issue(trial))
        self.commit()
        if free > 0 and not self.history.running and not self.over(strategy):
            raise UserError(
                f"{type(strategy).__name__} gives nothing to try though nothing runs, and does not say that it is "
                "exhausted: that is an error in the strategy; choose another, or mend it"
            )
        return attempts

    def tell(self, strategy: Strategy, event: Event) -> None:
        """Take note of what a pool reports; written by the next `ask` or `commit`."""
        if isinstance(event, Result):
            self._ended(strategy, event)
        elif isinstance(event, Progress):
            self._progressed(event)
        elif isinstance(event, Notice):
            self.note(event.text)
        elif not self.history.slots or self.history.slots[-1][1] != event.total:
            self.write("slots", None, {"total": event.total}, urgent=False)

    def over(self, strategy: Strategy) -> bool:
        """Whether nothing runs, and nothing is to be run any more; or a stop that waits for nothing."""
        if self.stopping_now:
            return True
        if self.history.running:
            return False
        return self.stopping or (strategy.exhausted and not self._again)

    @property
    def written(self) -> int:
        """The sequence of the last entry that this driver wrote, or read when it began."""
        return self._last

    @property
    def stopping(self) -> bool:
        """Whether somebody has asked to stop."""
        return self.history.stopping

    def stop(self, now: bool = False) -> None:
        """Ask for nothing more; with `now`, do not even wait for what runs. May be called by a signal's handler."""
        self.history.stopping = True
        self.stopping_now = self.stopping_now or now

    def note(self, text: str, trial: int | None = None, aside: bool = False) -> None:
        """Write something that a person should know; passwords in addresses are left out of it."""
        said = redacted_text(text)
        self.write("note", trial, {"text": said, "aside": True} if aside else {"text": said})

    def write(self, kind: str, trial: int | None, body: Mapping[str, Json], urgent: bool = True) -> None:
        """Put an entry into this turn (see `Entry` for kinds); one that is not urgent may wait, and may be lost."""
        entry = Entry(0, self._clock(), kind, trial, body)
        self.history.feed(entry)
        self._buffer.append(entry)
        self._urgent = self._urgent or urgent

    def commit(self) -> None:
        """Write what this turn holds; Superseded where another driver has taken over."""
        if self._pulse is not None and self._pulse.superseded is not None:
            raise self._pulse.superseded
        if self._buffer and (self._urgent or time.monotonic() >= self._flush_at):
            entries, self._buffer, self._urgent = self._buffer, [], False
            try:
                with self.timing.commit.measured():
                    self._last = self.log.append(self.search, self.epoch, entries)
            except UserError as error:  # a second chance for `release`, but nothing is ever written twice
                self._buffer = [] if isinstance(error, FullError) and error.written else entries
                raise
            self._flush_at = time.monotonic() + PATIENCE

    def release(self, state: str, reason: str = "") -> None:
        """Write what is left, and let the search go: interrupted, stopped, finished or failed.

        A stop that nobody has noticed yet has got what it wanted; other requests wait for the next driver.
        """
        self._urgent = True
        try:
            self._read_requests()
            for request in list(self.history.pending.values()):
                if request.body["kind"] == "stop":
                    self.write("applied", None, {"request": request.sequence})
            self.commit()
            self.log.release(self.search, self.epoch, state, redacted_text(reason))
        finally:
            self.close()

    def close(self) -> None:
        """End the heartbeat, write nothing. May be called twice."""
        if self._pulse is not None:
            self._pulse.end()

    def _next(self, strategy: Strategy) -> Trial | None:
        if self._again:
            return self.history.trials[self._again.popleft()].trial
        with self.timing.ask.measured():
            trial = strategy.ask()
        if trial is None:
            return None
        if trial.id in self.history.trials:
            raise ValueError(f"{type(strategy).__name__} asked for trial {trial.id} twice")
        if trial.parent is not None and trial.parent not in self.history.trials:
            raise ValueError(f"trial {trial.id} continues trial {trial.parent}, which was never asked")
        now = self._clock()
        self.history.asked(trial, now)
        self._keep(Entry(0, now, "ask", trial.id, trial.json()))
        return trial

    def _issue(self, trial: Trial) -> Attempt:
        now = self._clock()
        attempt = self.history.issued(trial.id, self.history.trials[trial.id].attempts + 1, now)
        self._keep(Entry(0, now, "attempt", trial.id, {"number": attempt.number}))
        return attempt

    def _ended(self, strategy: Strategy, result: Result) -> None:
        record = self.history.trials.get(result.trial_id)
        if record is None or not record.running or record.attempts != result.attempt:
            self.note(f"a result of attempt {result.attempt}, which was no longer awaited, is ignored", result.trial_id)
            return
        self._told(result)
        if result.outcome is Outcome.LOST and record.losses >= LOSSES:
            reason = f"killed its worker {LOSSES} times" + (f", at last: {result.error}" if result.error else "")
            result = Result(result.trial_id, result.attempt, Outcome.FAILED, error=reason)
            self._told(result)
        if result.outcome.charged:
            with self.timing.tell.measured():
                self._inform(strategy, result)
        else:
            self._again.append(result.trial_id)

    def _told(self, result: Result) -> None:
        now = self._clock()
        self.history.told(result, now)
        self._keep(Entry(0, now, "tell", result.trial_id, result.json()))

    def _keep(self, entry: Entry) -> None:
        self.history.at(entry)
        self._buffer.append(entry)
        self._urgent = True

    def _progressed(self, progress: Progress) -> None:
        record = self.history.trials.get(progress.trial_id)
        if record is not None and record.running and record.attempts == progress.attempt:
            body = {"attempt": progress.attempt, "epoch": progress.epoch, "metrics": dict(progress.metrics)}
            self.write("progress", progress.trial_id, body, urgent=False)

    def _relive(self, strategy: Strategy, entry: Entry) -> None:
        request = self.history.pending.get(entry.body["request"]) if entry.kind == "applied" else None
        record = self.history.trials.get(entry.trial) if entry.kind == "tell" and entry.trial is not None else None
        news = record is not None and record.result is None
        self.history.feed(entry)
        if entry.kind == "ask":
            trial = self.history.trials[entry.body["id"]].trial
            self._let(trial.id, strategy, strategy.hear, trial)
        elif record is not None and news and record.result is not None:
            self._inform(strategy, record.result)
        elif request is not None and request.body["kind"] != "stop":
            self._effect(strategy, request)

    def _inform(self, strategy: Strategy, result: Result) -> None:
        """Tell a result; one that is set aside is told as failed, in every replay, too, so that nobody waits for it."""
        if result.trial_id in self.history.aside or not self._let(result.trial_id, strategy, strategy.tell, result):
            with suppress(Exception):
                strategy.tell(Result(result.trial_id, result.attempt, Outcome.FAILED, error=ASIDE))

    def _let(self, trial: int, strategy: Strategy, hear: Callable[[News], None], news: News) -> bool:
        """Let the strategy hear of a trial; what it cannot digest is set aside, so that no resume fails on it."""
        try:
            hear(news)
        except Exception as error:
            if trial not in self.history.aside:
                why = f"{type(error).__name__}: {error}"
                text = f"{type(strategy).__name__} cannot digest trial {trial} ({why}): it is set aside"
                self.note(text, trial, aside=True)
            return False
        return True

    def _look(self, strategy: Strategy) -> None:
        """See, twice a second, whether another process asks for something."""
        if (now := time.monotonic()) >= self._look_at:
            self._look_at = now + POLL
            self._read_requests()
            self._apply_requests(strategy)

    def _read_requests(self) -> None:
        last = self._last  # what comes behind this is seen now or the next time
        for entry in self.log.entries(self.search, after=self._seen, kinds=("request",)):
            self.history.feed(entry)
            last = max(last, entry.sequence)
        self._seen = last

    def _apply_requests(self, strategy: Strategy) -> None:
        for request in list(self.history.pending.values()):
            if request.body["kind"] == "stop":
                self.stop(bool(request.body.get("now", False)))
            elif (said := self._effect(strategy, request)) is not None:
                self.note(said)
            self.write("applied", None, {"request": request.sequence})

    def _drop_old_stops(self) -> None:
        """A stop that was asked of a driver which died before it noticed has got what it wanted."""
        here = max((driver.sequence for driver in self.history.drivers[1:]), default=0)
        for request in list(self.history.pending.values()):
            if request.body["kind"] == "stop" and request.sequence < here:
                self.write("applied", None, {"request": request.sequence})

    def _effect(self, strategy: Strategy, request: Entry) -> str | None:
        """Let an `extend`, `enqueue` or `learn` take effect: None, or what there is to say of it."""
        kind = str(request.body["kind"])
        method = getattr(strategy, kind, None)
        if method is None:
            return f"{type(strategy).__name__} takes no request to {kind}: it is ignored"
        try:
            said = method(Candidate(request.body["candidate"]) if kind == "enqueue" else request.body)
        except Exception as error:
            return f"a request to {kind} is ignored: {type(error).__name__}: {error}"
        return said if isinstance(said, str) and said else None


@final
class _Pulse:
    """A thread that says every few seconds that the driver is alive."""

    def __init__(self, log: Log, search: str, epoch: int, seconds: float) -> None:
        self.superseded: Superseded | None = None
        self._ended = Flag()
        self._thread = Thread(target=self._run, args=(log, search, epoch, seconds), name="heartbeat", daemon=True)
        self._thread.start()

    def _run(self, log: Log, search: str, epoch: int, seconds: float) -> None:
        while not self._ended.wait(seconds):
            try:
                log.heartbeat(search, epoch)
            except Superseded as error:
                self.superseded = error
                return
            except UserError:  # the driver meets the same trouble itself, and says it
                continue

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
