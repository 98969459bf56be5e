"""Course: a training in progress, and what every task makes of it, epoch by epoch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from workers.errors import DivergedError
from workers.task import Epoch, State
from workers.trial import Json, Trial

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class Score:
    """What a model reaches on a part of the data; `examples` and `exhibits` as in `Epoch`."""

    metrics: Mapping[str, float]
    examples: Mapping[str, Tensor] = field(default_factory=dict)
    exhibits: Mapping[str, bytes] = field(default_factory=dict)


class Course(ABC):
    """A model on its device with what steps it, from scratch or from a state, as if it had never been interrupted.

    All that is random in an epoch follows from the trial's seed and the epoch's number (`workers.seeds.derived`), so
    that equal seeds give equal bits on a CPU, whoever trained the epochs before.
    """

    @abstractmethod
    def epoch(self, number: int) -> Mapping[str, float]:
        """Train epoch `number`, counted from 0; what is to be said of it, such as `train_loss`."""

    @abstractmethod
    def score(self, split: str) -> Score:
        """What the model reaches on the part called `validation` or `test`; changes nothing."""

    @abstractmethod
    def tensors(self) -> Mapping[str, Tensor]:
        """All that is needed to go on, copied to the CPU; those of the model are `model/<key of its state_dict>`."""

    def record(self) -> Mapping[str, Json]:
        """What else is needed to go on."""
        return {}


def follow(course: Course, trial: Trial, state: State | None) -> Iterator[Epoch]:
    """Train up to epoch `trial.epochs`, yielding after each; only score where nothing is left to train.

    The test set is read once, at the end; its metrics are named `test_...`.
    """
    first = 0 if state is None else state.epoch
    if first >= trial.epochs:
        yield scored(course, trial, {}, None)
        return
    for number in range(first, trial.epochs):
        metrics = course.epoch(number)
        record = {"seed": trial.seed, "horizon": trial.horizon, **course.record()}
        after = State(number + 1, course.tensors(), record)
        if trial.split == "test" and number + 1 < trial.epochs:
            yield Epoch(metrics, after)
        else:
            yield scored(course, trial, metrics, after)


def scored(course: Course, trial: Trial, metrics: Mapping[str, float], state: State | None) -> Epoch:
    """`metrics` with those of the trial's part of the data."""
    score = course.score(trial.split)
    for name, value in score.metrics.items():
        if not math.isfinite(value):
            raise DivergedError(f"the {name} on the {trial.split} part is {value}: a lower learning rate may help")
    named = {f"test_{name}": value for name, value in score.metrics.items()} if trial.split == "test" else score.metrics
    return Epoch({**named, **metrics}, state, score.examples, score.exhibits)
