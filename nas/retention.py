"""Retention: files are kept while something refers to them, and removed in small portions while the search runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

from nas.history import History, TrialRecord
from nas.journal import Journal
from nas.plan import Plan
from nas.ranking import ranked
from workers.artifacts import Artifacts, Stored
from workers.errors import UserError
from workers.objectives import Objective, Outcome
from workers.spoken import OUTPUT
from workers.underway import UNDERWAY

PORTION = 8  # files removed in one turn of the loop
SWEEP = 10  # trials that end between two looks, at least
TOP = 10  # trials, best by each objective, whose networks can be exported


@final
@dataclass(frozen=True, slots=True)
class Needed:
    """The trials whose files something refers to.

    `firm` stay whatever happens: retrained, tested, unfinished, and the parents of these. `soft` may go where a quota
    demands it, the last first: the best ones, what a strategy may want to continue (it would be trained again), the
    last two levels of a search whose candidates inherit, and the last failures with their tracebacks.
    """

    firm: frozenset[int] = frozenset()
    soft: dict[int, None] = field(default_factory=dict)


def needed(history: History, objectives: Sequence[Objective], top: int = TOP) -> Needed:
    """What the search so far refers to; `top` counts for each objective and for the Pareto front."""
    records = history.trials
    firm = {trial for trial, record in records.items() if record.arm in ("final", "test") or record.result is None}
    firm |= {parent for trial in firm if (parent := records[trial].trial.parent) is not None}
    rungs = [r.trial.id for r in history.searched() if r.completed and r.trial.epochs < r.trial.horizon]
    failed = [r.trial.id for r in records.values() if r.result is not None and r.result.outcome is Outcome.FAILED]
    return Needed(
        frozenset(firm),
        dict.fromkeys([*_best(history, objectives, top), *rungs, *_forebears(history), *failed[: -top - 1 : -1]]),
    )


def superfluous(stored: Collection[Stored], history: History, need: Needed, quota: int | None = None) -> list[Stored]:
    """The files that may go: those nothing refers to, those of lost attempts, and over the quota the least needed.

    What trials printed stays, of lost attempts too, and is the first to go where a quota demands it.
    """
    going = [one for one in stored if one.name != OUTPUT and not _kept(one, history, need)]
    if quota is None:
        return going
    order = {trial: place for place, trial in enumerate(need.soft)}
    gone = set(going)
    spare = sorted(
        (one for one in stored if one not in gone and one.trial not in need.firm),
        key=lambda one: (one.name == OUTPUT, order.get(one.trial, len(order))),
    )
    size = sum(one.bytes for one in stored if one not in gone)
    while size > quota and spare:
        going.append(spare.pop())
        size -= going[-1].bytes
    return going


def _kept(one: Stored, history: History, need: Needed) -> bool:
    record = history.trials.get(one.trial)
    if record is None:
        return False
    if record.result is not None and (one.attempt != record.result.attempt or one.name == UNDERWAY):
        return False  # a lost attempt's, or what nobody goes on from any more
    return one.trial in need.firm or one.trial in need.soft


def _best(history: History, objectives: Sequence[Objective], top: int) -> Iterator[int]:
    completed = [record for record in history.searched() if record.completed]
    for goals in (objectives, *((objective,) for objective in objectives)):
        for record in ranked(completed, _metrics, goals)[:top]:
            yield record.trial.id


def _forebears(history: History) -> list[int]:
    """The completed trials whose weights the next level may begin with."""
    levels = {r.trial.id: r.trial.note["level"] for r in history.trials.values() if r.trial.note.get("bequeaths")}
    newest = max(levels.values(), default=0)
    return [trial for trial, level in levels.items() if level >= newest - 1 and history.trials[trial].completed]


def _metrics(record: TrialRecord) -> dict[str, float]:
    return dict(record.result.metrics) if record.result else {}


@final
class Retention:
    """Looks, now and then, at what a search has stored, and removes a few files per turn."""

    def __init__(
        self, artifacts: Artifacts, journal: Journal, objectives: Sequence[Objective], quota: int | None = None
    ) -> None:
        self.artifacts = artifacts
        self.journal = journal
        self.objectives = tuple(objectives)
        self.quota = quota
        self._going: list[Stored] = []
        self._look_at = SWEEP  # when so many trials are over
        self._broken = False

    @classmethod
    def of(cls, plan: Plan, journal: Journal) -> Retention:
        """For the artifacts, objectives and quota of a plan."""
        return cls(Artifacts.open(plan.artifacts), journal, plan.objectives, plan.job.artifacts.quota)

    def turn(self, history: History) -> None:
        """A turn of the loop is over: remove a portion, or look for more when enough trials have ended."""
        if self._going:
            self._remove(self._going[:PORTION])
            self._going = self._going[PORTION:]
        elif (over := history.outcomes.total()) >= self._look_at and not self._broken:
            self._look(history)
            self._look_at = over + max(SWEEP, over // 10)  # so that all looks together cost little more than the last

    def finish(self, history: History) -> None:
        """The search is over: remove all that is left to remove."""
        if not self._broken:
            self._look(history)
            self._remove(self._going)
            self._going = []

    def _look(self, history: History) -> None:
        try:
            stored = self.artifacts.list(self.journal.search)
        except (OSError, UserError) as error:
            self._give_up(error)
            return
        if stored:  # ranking all trials is dear, and tasks without a model store nothing
            self._going = superfluous(stored, history, needed(history, self.objectives), self.quota)

    def _remove(self, files: Sequence[Stored]) -> None:
        for one in files:
            try:
                self.artifacts.delete(self.journal.search, one.trial, one.attempt, one.name)
            except (OSError, UserError) as error:
                self._give_up(error)
                return
            body = {"attempt": one.attempt, "name": one.name, "deleted": True}
            self.journal.write("artifact", one.trial, body, urgent=False)

    def _give_up(self, error: Exception) -> None:
        self._broken, self._going = True, []
        self.journal.note(f"files that nobody needs stay where they are: {error}")
