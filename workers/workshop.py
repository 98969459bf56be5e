"""Setup, Workshop: what a worker process is told once, and how it then runs one attempt after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

from search_spaces.space import Space
from workers.objectives import Outcome
from workers.plugins import Spec, load
from workers.pool import Progress
from workers.task import Task
from workers.trial import Attempt, Json, Result


@final
@dataclass(frozen=True)
class Setup:
    """What all attempts of a search share; plain JSON, sent to each worker once.

    `artifacts` is a folder or an fsspec URL, `threads` how many a worker may use, `time_limit` the seconds one
    attempt may take, `measure` the further metrics that objectives and constraints ask for (`latency`), `ceilings`
    the largest feasible value of a metric, `folder` where the user's own modules are found.
    """

    search: str
    task: Spec
    space: Spec | None = None
    artifacts: str = ""
    threads: int = 1
    time_limit: float | None = None
    measure: tuple[str, ...] = ()
    ceilings: Mapping[str, float] = field(default_factory=dict)
    folder: str = ""

    def json(self) -> dict[str, Json]:
        return {
            **vars(self),
            "task": self.task.json(),
            "space": self.space and self.space.json(),
            "measure": list(self.measure),
            "ceilings": dict(self.ceilings),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Json]) -> Setup:
        space = record["space"]
        return cls(
            **{
                **record,
                "task": Spec.from_json(record["task"]),
                "space": Spec.from_json(space) if space else None,
                "measure": tuple(record["measure"]),
            }
        )


@final
class Workshop:
    """A space, a task and their data in one process; imports torch only where the task does."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        task = load("workers.tasks", setup.task.name, Task)
        self.task: Task = task(**setup.task.options)
        self.space: Space | None = None
        if setup.space is not None:
            self.space = load("search_spaces", setup.space.name, Space)(**setup.space.options)

    def run(self, attempt: Attempt, report: Callable[[Progress], None]) -> Result:
        """Train and score one child; every failure of the child is a `Result`, not an exception."""
        trial, started = attempt.trial, time.monotonic()
        metrics: Mapping[str, float] = {}
        epochs = 0
        outcome, error = Outcome.COMPLETED, None
        try:
            model = None
            if self.space is not None:
                model = self.space.build(trial.candidate, self.task.signature)
            for epoch in self.task.train(model, trial, None):
                metrics, epochs = epoch.metrics, epochs + 1
                report(Progress(trial.id, attempt.number, epochs, metrics))
        except Exception as failure:
            outcome, error = Outcome.FAILED, f"{type(failure).__name__}: {failure}"
        seconds = time.monotonic() - started
        return Result(trial.id, attempt.number, outcome, dict(metrics), epochs, seconds, error=error)
