"""A space, a task, a strategy and a pool so small that the rules around them are what is tested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from nas.strategy import Draw, Setting, Strategy
from search_spaces.decision import Choice, Range
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Description, Signature, Space, UnfitError
from workers.objectives import Direction, Objective, Outcome
from workers.pool import Event, Pool
from workers.setup import Setup
from workers.task import Epoch, State, Task
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop

if TYPE_CHECKING:
    from torch import nn

FOLDER = str(Path(__file__).parent)
VALUE = Objective("value", Direction.MAXIMIZE)


@final
@dataclass(frozen=True)
class GridSpace(Space):
    """Two decisions whose order does not matter; `a` costs 100 parameters each, `b` 1000 multiply-adds."""

    width: int = 6
    kind: str = "grid"

    @property
    def decisions(self) -> Decisions:
        return Decisions({name: Choice(tuple(range(self.width))) for name in ("a", "b")})

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        return Blueprint("torch.nn:Linear", {"in_features": 2, "out_features": int(candidate["a"]) + 1})

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        return Description(100 * int(candidate["a"]), 1000 * int(candidate["b"]), 10)

    def check(self, signature: Signature) -> None:
        if signature.kind != self.kind:
            raise UnfitError(f"the task is {signature.kind!r}, but this space builds {self.kind!r}")

    def canonical(self, candidate: Candidate) -> tuple[object, ...]:
        return tuple(sorted((int(candidate["a"]), int(candidate["b"]))))


@final
@dataclass(frozen=True)
class ClashSpace(Space):
    """Has a decision that a task may have, too."""

    @property
    def decisions(self) -> Decisions:
        return Decisions({"scale": Choice((1, 2))})

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        raise NotImplementedError

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        raise NotImplementedError


@final
@dataclass(frozen=True)
class SumTask(Task):
    """The value is what the candidate sums up to, at each epoch a little more of it."""

    epochs: int = 2
    scale: float | dict[str, object] = 1.0
    fail: tuple[int, ...] = ()

    @property
    def decisions(self) -> Decisions:
        return Decisions({"scale": Range(0.5, 2.0)} if isinstance(self.scale, dict) else {})

    @property
    def signature(self) -> Signature:
        return Signature("grid")

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (VALUE, Objective("cost", Direction.MINIMIZE))

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        total = sum(int(v) for v in trial.candidate.values()) + trial.seed / 100
        if trial.id in self.fail:
            raise ValueError("this one fails")
        for epoch in range(max(1, trial.epochs)):
            yield Epoch({"value": total + epoch, "cost": float(trial.candidate["a"])}, None)


class Uniform(Strategy):
    """Random search, without a word of memory."""

    objectives_at_most = None

    def propose(self, draw: Draw) -> Trial | None:
        return self.trial(draw, self.setting.decisions.sample(draw.generator()))

    def asked(self, trial: Trial) -> None:
        pass

    def told(self, result: Result) -> None:
        pass


@final
class Choosy(Uniform):
    """Cannot digest the result of trial 2, and waits for every result before it goes on."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.open: set[int] = set()

    def propose(self, draw: Draw) -> Trial | None:
        return None if self.open else super().propose(draw)

    def asked(self, trial: Trial) -> None:
        self.open.add(trial.id)

    def told(self, result: Result) -> None:
        if result.trial_id == 2 and result.outcome is Outcome.COMPLETED:
            raise KeyError("indigestible")
        self.open.discard(result.trial_id)


@final
class Instant(Pool):
    """Runs each attempt in `wait`, in this process; `slots` at most wait there."""

    latest: ClassVar[Instant]

    def __init__(self, setup: Setup, slots: int = 2) -> None:
        Instant.latest = self
        self.workshop = Workshop(setup)
        self.slots = slots
        self.queue: list[Attempt] = []
        self.started: list[Attempt] = []
        self.closed = False

    @property
    def free(self) -> int:
        return self.slots - self.busy

    @property
    def busy(self) -> int:
        return len(self.queue)

    def submit(self, attempt: Attempt) -> None:
        self.queue.append(attempt)
        self.started.append(attempt)

    def wait(self, timeout: float = 1.0) -> list[Event]:
        if not self.queue:
            return []
        return [self.workshop.run(self.queue.pop(0), lambda progress: None)]

    def close(self) -> None:
        self.workshop.close()
        self.closed = True


def completed(trial: Trial, value: float, **metrics: float) -> Result:
    """A result of `trial` with this value."""
    return Result(trial.id, 1, Outcome.COMPLETED, {"value": value, **metrics}, epochs=trial.epochs)
