"""Start a search, and drive it to its end."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import final

from nas.driver_log import DriverLog
from nas.earlier import requests
from nas.history import History
from nas.interrupt import GRACE, Interrupt
from nas.job import Job
from nas.jobfile.plugins import beside
from nas.journal import Journal
from nas.keeper import Keeper
from nas.learned import Learned
from nas.log import Log, Superseded
from nas.plan import Plan
from nas.recorded import current_job, current_plan
from nas.retention import Retention
from nas.search import Observer
from nas.search import search as loop
from nas.sharing import open_weights
from nas.standing import current
from nas.versions import versions
from nas.watcher import Watchers
from nas.wrappers.final import Final
from workers.artifacts import Artifacts
from workers.errors import UserError
from workers.pool import Pool
from workers.redaction import redacted
from workers.trial import Json


@final
@dataclass(frozen=True, slots=True)
class Ending:
    """How a driver left its search: finished, stopped (`nas stop`), interrupted (a signal) or failed, and why.

    Only a search that is finished has nothing left to do; the others can be resumed.
    """

    search: str
    state: str
    reason: str = ""


def start(job: Job | Mapping[str, Json], log: Log) -> str:
    """Check the job and its data, and create its search, whose id is the job's name or a variation of it."""
    plan = Plan.of(job)
    _prepare(plan)
    return create(plan, log, plan.record())


def create(plan: Plan, log: Log, record: Json) -> str:
    """Create the search of a plan that was checked, with what its journal is to keep of the job: its id."""
    if plan.job.artifacts.place is not None or log.folder is None:
        record["artifacts"]["place"] = plan.artifacts  # in full: a resume may begin in another folder
    for named in (record["journal"], *record["warm_start"]):
        for key in {"place", "journal"} & set(named):
            named[key] = named[key] and redacted(named[key])
    taken = {header.search for header in log.searches()}
    begin = list(requests(plan, log))
    names = (plan.job.name if number == 1 else f"{plan.job.name}-{number}" for number in count(1))
    search = next(name for name in names if name not in taken and _created(log, name, record))
    for kind, body in begin:
        log.request(search, kind, body)
    return search


def drive(
    search: str,
    log: Log,
    observer: Observer | None = None,
    force: bool = False,
    grace: float = GRACE,
    after: int | None = None,
) -> Ending:
    """Run a search from where it stands to its end, a stop or a signal; `UserError` where another driver has it.

    Workers never outlive this. After SIGTERM what runs has `grace` seconds to finish. With `after`, the epoch that this
    driver is to follow on, a search that somebody else has had since, to stop it, say, is left as it is.
    """
    log.check(search, force)
    plan = current_plan(log, search)
    _prepare(plan)
    standing = current(log, log.header(search))
    clock = _Clock(standing.history.worked)
    epoch = log.acquire(search, force)
    if after is not None and epoch != after + 1:
        return _left(search, log, epoch)
    journal = Journal(log, search, epoch)
    try:
        strategy = plan.strategy(clock, journal.epoch)
        with beside(plan.job.folder), Interrupt(journal, grace) as interrupt:
            with open_weights(plan, journal.epoch), closing(strategy), closing(plan.pool()) as pool:
                retention = Retention.of(plan, journal)
                keeper, learned = Keeper(log, search, journal.epoch, standing), Learned(journal, strategy)
                told = DriverLog.of(plan, journal.epoch)
                all_told = [told, *plan.watchers(strategy, journal.timing)]
                with Watchers(all_told, journal.note, journal.history) as watchers:
                    turns = _Turns(interrupt, retention, watchers, (keeper, learned), observer)
                    with _rare_collections():
                        loop(strategy, pool, journal, turns)
                    ending = _ending(strategy, journal, interrupt)
                    watchers.end(journal.history, ending.state, ending.reason)
                learned.end()
            if ending.state == "finished":
                retention.finish(journal.history)
            keeper.end()
            journal.release(ending.state, ending.reason)
    except Superseded:
        journal.close()
        raise UserError(f"another driver has taken {search} over and goes on with it; this one has stopped") from None
    except BaseException as error:
        _give_up(journal, error)
        raise
    return ending


def resume(
    search: str,
    log: Log,
    overrides: Mapping[str, Json] | None = None,
    observer: Observer | None = None,
    force: bool = False,
) -> Ending:
    """Go on with a search, its budget, pool or final changed where `overrides` says so."""
    log.check(search, force)
    if overrides:
        extend(search, log, overrides)
    return drive(search, log, observer, force)


def extend(search: str, log: Log, overrides: Mapping[str, Json]) -> None:
    """Change budget, pool or final of a search; a running driver takes over budget and final within a second."""
    before = current_job(log, search)
    after = before.changed(overrides)
    Plan.of(after, search)
    record = after.json()
    log.request(search, "extend", {key: record[key] for key in overrides})


@final
class _Clock:
    """The seconds a search has run for, those of earlier drivers included."""

    def __init__(self, before: float) -> None:
        self._zero = time.monotonic() - before

    def __call__(self) -> float:
        return time.monotonic() - self._zero


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cyclic garbage seldom: a history has a hundred objects per trial and no cycles (7 % of the time)."""
    before = gc.get_threshold()
    gc.set_threshold(20_000, before[1], before[2])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@final
class _Turns:
    """What is done after each turn: deadlines, artifacts that nobody needs, who watches, what is kept for others."""

    def __init__(
        self,
        interrupt: Interrupt,
        retention: Retention,
        watchers: Watchers,
        keepers: tuple[Keeper, Learned],
        observer: Observer | None,
    ) -> None:
        self._interrupt = interrupt
        self._retention = retention
        self._watchers = watchers
        self._keepers = keepers
        self._observer = observer

    def turn(self, history: History, pool: Pool) -> None:
        self._interrupt.tick()
        self._retention.turn(history)
        self._watchers.turn(history, pool)
        for keeper in self._keepers:
            keeper.turn()
        if self._observer is not None:
            self._observer.turn(history, pool)


def _created(log: Log, search: str, record: Json) -> bool:
    """Create the search; False where somebody else was faster and has the name."""
    try:
        log.create(search, record, versions())
    except UserError:
        if search not in {header.search for header in log.searches()}:
            raise
        return False
    return True


def _left(search: str, log: Log, epoch: int) -> Ending:
    """Let a search go as who had it last has left it."""
    said = [entry.body for entry in log.entries(search, kinds=("state",))]
    last = said[-1] if said else {"state": "interrupted", "reason": "its driver is gone"}
    log.release(search, epoch, last["state"], last["reason"])
    return Ending(search, last["state"], last["reason"])


def _ending(strategy: Final, journal: Journal, interrupt: Interrupt) -> Ending:
    """How the search stands after the loop."""
    history = journal.history
    if journal.stopping and not (strategy.exhausted and not history.waiting()):
        if interrupt.reason:
            return Ending(journal.search, "interrupted", interrupt.reason)
        return Ending(journal.search, "stopped", "a user asked for it")
    if not history.trials and strategy.reason:
        return Ending(journal.search, "failed", f"nothing was tried: {strategy.reason}")
    trained = any(record.completed and not record.trial.proxy for record in history.trials.values())
    if history.trials and not trained:
        errors = [record.result.error for record in history.trials.values() if record.result and record.result.error]
        last = f"; the last error: {errors[-1]}" if errors else ""
        return Ending(journal.search, "failed", f"none of {len(history.trials)} trials completed{last}")
    if failure := strategy.failure:
        return Ending(journal.search, "failed", failure)
    return Ending(journal.search, "finished", strategy.reason)


def _give_up(journal: Journal, error: BaseException) -> None:
    """Let the search go after an error; what the error leaves writable is written."""
    state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    try:
        journal.release(state, str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
    except (UserError, Superseded):
        journal.close()  # the disk is full, say: the next driver sees that this one is gone


def _prepare(plan: Plan) -> None:
    """Load the data and store a file, so that what fails is one error here and not one for each trial.

    Not where the workers run on other machines: the data and the place of artifacts may be there alone.
    """
    if plan.job.pool.name in ("local", "ray") and not plan.elsewhere:
        with beside(plan.job.folder):
            plan.task.prepare()
        if plan.space is not None:
            Artifacts.open(plan.artifacts).probe(plan.search)
