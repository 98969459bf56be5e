"""Workshop: a space, a task and their data in one process, which runs one attempt after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, final

from search_spaces.decisions import Decisions
from search_spaces.space import Space
from workers import draining, memory
from workers.artifacts import Artifacts
from workers.child import Child
from workers.errors import UserError
from workers.memory_limit import MemoryLimit
from workers.objectives import Outcome
from workers.plugins import Spec, load
from workers.pool import Progress
from workers.setup import Setup
from workers.task import Task
from workers.trial import Attempt, Result
from workers.underway import Underway

if TYPE_CHECKING:
    from parameter_server.store import Store
    from workers.supernet import Supernet


def task_of(spec: Spec) -> Task:
    """The task that a job names; a plain function of decisions becomes the task `function`."""
    found = load("workers.tasks", spec.name, Task)
    if isinstance(found, type) and issubclass(found, Task):
        return found(**spec.options)
    if isinstance(found, Task):
        return found
    if isinstance(found, type) or not callable(found):
        raise UserError(f"{spec.name!r} is neither a Task nor a function of decisions: name one of these")
    from workers.tasks.function import Function

    return Function(call=found, **spec.options)


def space_of(spec: Spec) -> Space:
    """The space that a job names."""
    space = load("search_spaces", spec.name, Space)(**spec.options)
    if not isinstance(space, Space):
        raise UserError(f"{spec.name!r} makes a {type(space).__name__}, but must make a Space")
    if not isinstance(space.decisions, Decisions):
        what = type(space.decisions).__name__
        raise UserError(f"the decisions of {spec.name!r} are a {what}, but must be Decisions({{name: Choice(...)}})")
    return space


@final
class Workshop:
    """A space, a task and their data in one process; imports torch only where the task does.

    Children that share weights find them in `store`, by default in that which the setup names.
    """

    def __init__(self, setup: Setup, store: Store | None = None) -> None:
        self.setup = setup
        self._store = store
        self.task = task_of(setup.task)
        self.space = None if setup.space is None else space_of(setup.space)
        self.artifacts = Artifacts.open(setup.artifacts) if setup.artifacts else None
        self.memory = MemoryLimit(setup.memory)
        self._prepared = False
        self._over: Underway | None = None  # what a training left that has ended

    def prepare(self) -> None:
        """Load the data, if that was not done before."""
        if not self._prepared:
            self.task.prepare()
            self._prepared = True

    @cached_property
    def supernet(self) -> Supernet:
        """The network that children who share weights are parts of."""
        from workers.supernet import Supernet

        if self.setup.sharing is None or self.space is None:
            raise UserError("a trial is to share weights, but its search shares none")
        return Supernet(self._store or self.setup.sharing.connect(), self.space, self.task, self.setup.sharing)

    def close(self) -> None:
        """Let go of the store, if this has connected to one."""
        if self._store is None and "supernet" in vars(self):
            self.supernet.store.close()

    def run(self, attempt: Attempt, report: Callable[[Progress], None]) -> Result:
        """Train and score one child; every failure of the child is a `Result`, not an exception."""
        started = time.perf_counter()
        self._clear_up()
        if draining.begun():
            return Result(attempt.trial.id, attempt.number, Outcome.STOPPED, error=draining.REASON)
        memory.begin()
        child = Child(self.setup, self.task, self.space, self.artifacts, attempt)
        try:
            with self.memory.watched():
                self.prepare()
                child.train(report, self.supernet if attempt.trial.shared else None)
        except Exception as failure:
            child.fail(failure)
        if child.outcome.charged:
            self._over = child.underway
        return child.result(time.perf_counter() - started)

    @property
    def leaving(self) -> bool:
        """Whether this process is to run nothing more: it is drained, or holds what children before have left."""
        return draining.begun() or self.memory.worn()

    def _clear_up(self) -> None:
        """Remove what the attempt before kept under way: who gives this worker another one has written its result.

        Not yet where an actor holds several attempts; a driver that dies just then has the trial begin again.
        """
        if self._over is not None:
            self._over.remove()
            self._over = None
