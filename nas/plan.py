"""Plan: the live objects that a job describes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, final

from nas.home import FOLDER, SERVERS, home
from nas.job import Job
from nas.jobfile.document import Document
from nas.jobfile.mistakes import Mistake, nearest, refuse
from nas.jobfile.parts import objectives_of
from nas.jobfile.plugins import beside, find
from nas.strategy import Setting, Strategy
from nas.timing import Timing
from nas.watcher import Watched, Watcher
from nas.wrapper import Wrapper
from nas.wrappers.baseline import Baseline
from nas.wrappers.budget import Budget, Limits
from nas.wrappers.constrain import Constrain
from nas.wrappers.deduplicate import Deduplicate
from nas.wrappers.enqueue import Enqueue
from nas.wrappers.final import Final, Finale
from nas.wrappers.rescore import Rescore
from nas.wrappers.retry import Retry
from nas.wrappers.share import Share
from nas.wrappers.target import Target
from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Space, UnfitError
from workers.errors import UserError
from workers.lineage import network_of
from workers.objectives import Direction, Objective
from workers.plugins import Spec
from workers.pool import Pool
from workers.release import release
from workers.setup import Setup
from workers.sharing import Sharing
from workers.task import Task
from workers.trial import Json
from workers.workshop import space_of, task_of

if TYPE_CHECKING:
    from torch import nn

    from nas.estimate import Estimate

DESCRIBED = ("parameters", "multiply_adds")
WEIGHTS = "weights"  # those that children share, in the search's folder
MEASURED = ("latency",)  # by the worker, because the job asks for it


@final
@dataclass(frozen=True)
class Plan:
    """What a job comes to: its space and task, the merged decisions, and how to make its strategy and its pool."""

    job: Job
    search: str
    space: Space | None
    task: Task
    decisions: Decisions
    objectives: tuple[Objective, ...]

    @classmethod
    def of(cls, job: Job | Mapping[str, Json], search: str = "") -> Plan:
        """The objects of `job` (or of its JSON); `UserError` where they do not fit each other."""
        job = job if isinstance(job, Job) else Job.parse(job)
        with beside(job.folder):
            space = space_of(job.space) if job.space else None
            task = task_of(job.task)
        decisions = _fit(space, task, job)
        objectives = _objectives(space, task, job)
        if job.weights.shared:
            _check_sharing(space, task, job)
        plan = cls(job, search or job.name, space, task, decisions, objectives)
        plan.strategy()  # which refuses what it cannot search
        return plan

    @cached_property
    def setting(self) -> Setting:
        """What the strategies are told."""
        task, ceilings = self.task, {metric: ceiling.max for metric, ceiling in self.job.constraints.items()}
        known = (self.decisions, self.objectives, self.space, task.signature)
        return Setting(*known, task.epochs, self.job.seed, task.fidelities, ceilings, self.folder)

    @cached_property
    def setup(self) -> Setup:
        """What the workers are told."""
        metrics = {objective.metric for objective in self.objectives} | set(self.job.constraints)
        return Setup(
            search=self.search,
            task=self.job.task,
            space=self.job.space,
            artifacts=self.artifacts,
            time_limit=self.job.budget.trial_seconds,
            epochs=self.task.epochs,
            measure=tuple(metric for metric in (*MEASURED, "seconds") if metric in metrics),
            ceilings={metric: ceiling.max for metric, ceiling in self.job.constraints.items()},
            folder=self.job.folder,
            objectives=tuple(objective.metric for objective in self.objectives),
            sharing=self._sharing,
            release=release() if self.elsewhere else "",
        )

    @property
    def elsewhere(self) -> bool:
        """Whether the workers run on other machines, where the data and the place of artifacts may be alone."""
        pool = self.job.pool
        return pool.name == "ray" and ("address" in pool.options or "RAY_ADDRESS" in os.environ)

    @property
    def _sharing(self) -> Sharing | None:
        weights = self.job.weights
        address = str(Path(self.folder) / WEIGHTS)
        return Sharing(address, weights.children, self.job.seed) if weights.shared else None

    @property
    def artifacts(self) -> str:
        """Where checkpoints are kept: as the job says, else beside the journal, else in the home folder."""
        places = (self.job.artifacts.place, home(self.job.journal.place), home(), FOLDER)
        place = next(place for place in places if place and not place.startswith(SERVERS))
        return place if "://" in place else str(Path(place).expanduser().absolute())

    @property
    def folder(self) -> str:
        """The search's own folder on the driver's machine."""
        places = (self.artifacts, home(self.job.journal.place), home(), FOLDER)
        place = next(place for place in places if "://" not in place)
        return str(Path(place).expanduser().absolute() / self.search)

    @property
    def finale(self) -> Finale:
        """What is trained again at the end; a search of settings alone has no test set."""
        final = self.job.final
        return Finale(final.top, final.seeds, final.epochs or self.task.epochs, tested=self.space is not None)

    def record(self) -> dict[str, Json]:
        """The job as the journal keeps it: nothing is left to be found out, the objectives have their directions."""
        objectives = [{"metric": one.metric, "direction": str(one.direction)} for one in self.objectives]
        task = Spec(self.job.task.name, {**self.job.task.options, **self.task.located()})
        return {**self.job.model_copy(update={"task": task}).json(), "objectives": objectives}

    def strategy(self, clock: Callable[[], float] = lambda: 0.0, driver: int = 0) -> Final:
        """The job's strategy with its rules around it; `clock` gives the seconds the search has run for.

        `driver` is the epoch of who drives the search.
        """
        with beside(self.job.folder):
            inner = self._arm(self.job.strategy, replace(self.setting, driver=driver))
            searching: Wrapper = Enqueue(inner)
            if self.job.baseline > 0:
                rival = replace(self.setting, seed=self.job.seed + 1)
                searching = Baseline(searching, self._arm(Spec("random"), rival), self.job.baseline)
        budget, weights = self.job.budget, self.job.weights
        if weights.shared:
            searching = Share(searching)
        searching = Retry(searching, self.job.retries)
        limited = Budget(searching, Limits(budget.trials, budget.epochs, budget.seconds), clock)
        ending: Wrapper = Target(limited, budget.target)
        if weights.shared:
            ending = Rescore(ending, weights.rescore)
        return Final(ending, self.finale)

    def pool(self) -> Pool:
        """The machines; workers start at once."""
        with beside(self.job.folder):
            pool: Pool = find("pool", self.job.pool)(self.setup, **self.job.pool.options)
        return pool

    def watchers(self, strategy: Strategy, timing: Timing) -> list[Watcher]:
        """Who is told of the search while it runs, in the job's order."""
        home = Path(self.folder).parent
        job = self.job.json()
        watched = Watched(self.search, job, self.objectives, Path(self.folder), home, strategy, timing)
        with beside(self.job.folder):
            return [find("watch", one)(watched, **one.options) for one in self.job.watch]

    def build(self, candidate: Candidate) -> nn.Module:
        """The network of `candidate` with fresh weights."""
        if self.space is None:
            raise UserError("this job has no space: its task trains what it builds itself")
        with beside(self.job.folder):
            return network_of(self.space, self.task, candidate)

    def describe(self, candidate: Candidate) -> Mapping[str, float]:
        """The counts of `candidate` that are known without training."""
        if self.space is None:
            return {}
        described = self.space.describe(candidate, self.task.signature)
        return {"parameters": described.parameters, "multiply_adds": described.multiply_adds}

    def estimate(self, sample: int = 16) -> Estimate:
        """What this search will cost, before anything trains."""
        from nas.estimate import estimate

        return estimate(self, sample)

    def _arm(self, spec: Spec, setting: Setting) -> Strategy:
        """One strategy that proposes nothing too large and nothing twice."""
        try:
            strategy: Strategy = find("strategy", spec)(setting, **spec.options)
        except (ValueError, TypeError) as error:
            raise UserError(f"strategy {spec.name}: {error}") from error
        ceilings = {metric: self.setup.ceilings[metric] for metric in DESCRIBED if metric in self.setup.ceilings}
        if ceilings and self.space is not None:
            strategy = Constrain(strategy, ceilings, self.describe)
        return Deduplicate(strategy, shared=self.job.weights.shared)


def _fit(space: Space | None, task: Task, job: Job) -> Decisions:
    """The merged table of decisions, if space and task agree."""
    try:
        if space is not None:
            space.check(task.signature)
            return space.decisions | task.decisions
        if task.needs_space:
            raise UserError(
                f"the task {job.task.name} trains networks of a space, but the job names none: add space; "
                "docs/networks.md says which fit"
            )
        if not len(task.decisions):
            raise UserError(
                f"there is nothing to search: the task {job.task.name} leaves no setting open, and the job has "
                "no space; name a space, or give a setting of the task as {range: [low, high]} or {choice: [...]}"
            )
        return task.decisions | Decisions()
    except (UnfitError, DecisionError) as error:
        name = job.space.name if job.space else "no space"
        raise UserError(f"space {name} and task {job.task.name} do not fit: {error}") from error


def _check_sharing(space: Space | None, task: Task, job: Job) -> None:
    """Raise `UserError` where children cannot be parts of one network."""
    if space is None or not space.shareable:
        name = f"space {job.space.name}" if job.space else "a job without a space"
        raise UserError(
            f"weights: shared needs a space of cells, darts, nasnet or pnas, but {name} has no supernet: set it to own"
        )
    if job.final.top == 0:
        raise UserError("final.top is 0, but children that share weights have none to hand over: set it to 1 or more")
    try:
        task.sharing_policy()
    except UserError as error:
        raise UserError(f"task {job.task.name}: {error}") from None


def _objectives(space: Space | None, task: Task, job: Job) -> tuple[Objective, ...]:
    """The job's objectives, the task's first where it names none; constraints are on known metrics, too."""
    known = dict.fromkeys([*(DESCRIBED + MEASURED if space else ()), "seconds"], Direction.MINIMIZE)
    known |= {objective.metric: objective.direction for objective in task.objectives}
    own = ":" in job.task.name or job.task.name == "function"
    objectives, mistakes = objectives_of(job.objectives, known, own)
    known |= {objective.metric: objective.direction for objective in objectives}
    for metric in job.constraints:
        if metric not in known:
            text = f"{metric!r} is no metric of this task: {nearest(metric, known)}"
            mistakes.append(Mistake(("constraints", metric), text))
    refuse(Document({}), mistakes)
    return tuple(objectives) or task.objectives[:1]
