"""Begin a search from what earlier ones found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import final

from nas.history import History, TrialRecord
from nas.home import open_log
from nas.jobfile.parts import Earlier
from nas.lessons import Lesson, write
from nas.log import Log
from nas.plan import Plan
from nas.quantities import counted
from nas.ranking import ranked
from search_spaces.decision import DecisionError
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Json


@final
@dataclass
class Found:
    """What an earlier search has for a plan: its lessons in the order they ended, and why the others are left out."""

    search: str
    lessons: list[Lesson] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        """What is taken and what is not, in words."""
        reasons = "; ".join(f"{number} left out: {reason}" for reason, number in self.left_out.most_common(4))
        taken = f"begins from {counted(len(self.lessons), 'trial')} of {self.search}"
        return f"{taken}; {reasons}" if reasons else taken

    def best(self, plan: Plan, count: int) -> list[Lesson]:
        """The best of them by the plan's objectives, isomorphic candidates counted once."""
        completed = [lesson for lesson in self.lessons if lesson.outcome is Outcome.COMPLETED]
        best: dict[object, Lesson] = {}
        for lesson in ranked(completed, lambda one: one.metrics, plan.objectives):
            best.setdefault(plan.setting.canonical(lesson.candidate), lesson)
        return list(best.values())[:count]


def requests(plan: Plan, log: Log) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """What a new search asks of its driver, to begin from the searches that its job names; `log` is its own.

    Everything is copied: a resume needs none of the earlier journals.
    """
    taught = 0
    again: dict[object, Mapping[str, Json]] = {}
    for earlier in plan.job.warm_start:
        found = look(plan, earlier, log)
        for body in write(found.search, found.lessons, found.text, taught):
            yield "learn", body
        taught += len(found.lessons)
        for lesson in found.best(plan, earlier.again):
            again.setdefault(plan.setting.canonical(lesson.candidate), lesson.candidate.json())
    for candidate in again.values():
        yield "enqueue", {"candidate": candidate}


def look(plan: Plan, earlier: Earlier, log: Log) -> Found:
    """What `earlier` has for `plan`; `UserError` where that is nothing."""
    found = Found(earlier.search)
    with nullcontext(log) if earlier.journal is None else closing(open_log(earlier.journal)) as theirs:
        theirs.header(earlier.search)
        records = History.of(theirs.entries(earlier.search)).searched()
    ended = [record for record in records if record.result is not None]
    for record in sorted(ended, key=lambda one: (one.ended_at or 0.0, one.trial.id)):
        lesson, why = _lesson(plan, record)
        if lesson is None:
            found.left_out[why] += 1
        else:
            found.lessons.append(lesson)
    if not any(lesson.outcome is Outcome.COMPLETED for lesson in found.lessons):
        why = found.text if ended else f"{earlier.search} has no trial that ended"
        raise UserError(f"there is nothing to begin from: {why}; leave it out of warm_start, or make the jobs agree")
    return found


def _lesson(plan: Plan, record: TrialRecord) -> tuple[Lesson | None, str]:
    """What a trial teaches, or why it does not."""
    assert record.result is not None
    trial, result, epochs = record.trial, record.result, plan.setting.epochs
    if trial.shared or plan.job.weights.shared:
        return None, "scores of shared weights cannot be compared with others"
    if not trial.full:
        return None, "not trained to the end of the schedule"
    if trial.epochs != epochs:
        return None, f"trained for {counted(trial.epochs, 'epoch')}, not {epochs}"
    if result.outcome is Outcome.INFEASIBLE:
        return None, "infeasible there"
    try:
        candidate = plan.decisions.candidate(trial.candidate)
    except DecisionError as error:
        return None, f"no longer fits ({error})"
    if result.outcome is Outcome.FAILED:
        return Lesson(candidate, Outcome.FAILED), ""
    wanted = [objective.metric for objective in plan.objectives]
    if missing := [metric for metric in wanted if metric not in result.metrics]:
        return None, f"has no {missing[0]}"
    ceilings = plan.setup.ceilings
    if any(result.metrics.get(metric, 0.0) > ceiling for metric, ceiling in ceilings.items() if metric != "seconds"):
        return Lesson(candidate, Outcome.INFEASIBLE), ""
    return Lesson(candidate, Outcome.COMPLETED, {metric: result.metrics[metric] for metric in wanted}), ""
