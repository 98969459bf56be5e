"""Contestant, Contest, Trace: one search of one table by one strategy, through the real loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from typing import final

from nas.bench.table import Key, Table, World
from nas.history import TrialRecord
from nas.jobfile.plugins import find
from nas.journal import Journal
from nas.logs.memory import MemoryLog
from nas.search import search
from nas.strategy import Strategy
from nas.wrappers.budget import Budget, Limits
from nas.wrappers.deduplicate import Deduplicate
from workers.errors import UserError
from workers.plugins import Spec
from workers.pools.simulated import Simulated
from workers.setup import Setup
from workers.trial import Json

NAME = "bench"


@final
@dataclass(frozen=True, slots=True)
class Contestant:
    """A strategy with its options; `bare` leaves out the rule that nothing is trained twice."""

    name: str
    options: Mapping[str, Json] = field(default_factory=dict)
    bare: bool = False

    def __call__(self, table: Table, contest: Contest, seed: int) -> Sequence[Told]:
        """One search."""
        return run(table, self, contest, seed)


@final
@dataclass(frozen=True, slots=True)
class Contest:
    """What every contestant is given: so many trials, told one by one to so many workers at once."""

    trials: int
    workers: int = 1


@final
@dataclass(frozen=True, slots=True)
class Told:
    """One trial that ended: which row it was, how long it was trained, what was seen, and when in virtual seconds.

    `gain` is None where there was nothing to see.
    """

    row: Key
    epochs: int
    gain: float | None
    seconds: float


def run(table: Table, contestant: Contestant, contest: Contest, seed: int) -> tuple[Told, ...]:
    """The trials of one search in the order in which they were told; fewer where the strategy was exhausted."""
    log = MemoryLog()
    log.create(NAME, {}, {})
    pool = Simulated(Setup(NAME, Spec("table")), contest.workers, World(table, seed))
    journal = Journal(log, NAME, log.acquire(NAME), pulse=None, clock=lambda: pool.now)
    with closing(strategy(table, contestant, contest, seed)) as searching:
        search(searching, pool, journal)
    history = journal.history
    if history.aside:
        raise UserError(f"strategy {contestant.name}: {remark(log)}")
    return tuple([told(table, history.trials[entry.body["trial_id"]]) for entry in log.entries(NAME, kinds=("tell",))])


def strategy(table: Table, contestant: Contestant, contest: Contest, seed: int) -> Strategy:
    """The contestant with the rules of a search around it."""
    setting = table.setting(seed)
    try:
        inner = _found(contestant.name)(setting, **contestant.options)
    except (ValueError, TypeError) as error:
        raise UserError(f"strategy {contestant.name}: {error}") from error
    searching = inner if contestant.bare else Deduplicate(inner)
    return Budget(searching, Limits(trials=contest.trials), lambda: 0.0)


def told(table: Table, record: TrialRecord) -> Told:
    """What the record of a trial that ended says of it."""
    found = record.gains((table.objective,))
    key = table.key(record.trial.candidate)
    return Told(key, record.trial.epochs, found[0] if found else None, record.ended_at or 0.0)


def remark(log: MemoryLog) -> str:
    """What the journal noted first."""
    return next(str(entry.body["text"]) for entry in log.entries(NAME, kinds=("note",)))


@cache
def _found(name: str) -> Callable[..., Strategy]:
    """The strategy of that name; to look for it takes milliseconds, as all installed packages are asked."""
    found: Callable[..., Strategy] = find("strategy", Spec(name))
    return found
