"""A user's own function of decisions: plain hyperparameter tuning, of anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, final

from search_spaces.decision import Choice, DecisionError, Range
from search_spaces.decision_json import decision_from_json
from search_spaces.decisions import Decisions
from search_spaces.space import Signature
from workers.errors import UserError
from workers.objectives import Direction, Objective
from workers.plugins import load
from workers.task import Epoch, State, Task
from workers.trial import Trial

if TYPE_CHECKING:
    from torch import nn

GIVEN = ("epochs", "seed", "model")
NONE = Decisions()


@final
@dataclass(frozen=True, kw_only=True)
class Function(Task):
    """`call` is a function, or where one is: `package.module:name`. It takes a dict of decisions and gives metrics.

    It returns a number (then named `metric`) or a dict of them, or yields these, once per epoch. Where it has arguments
    named `epochs`, `seed` or `model` it is given these too; whoever asks for `epochs` yields that often.
    `decisions` is the table, name to `{choice: [...]}` or `{range: [low, high]}`; without it the function's attribute
    `decisions` is. `direction` says which way `metric` is better.
    """

    call: str | Callable[..., Any] = ""
    decisions: Decisions = NONE  # a default on the class: without it the property of `Task` would stay abstract
    metric: str = "score"
    direction: str = "maximize"
    epochs: int = 1

    def __post_init__(self) -> None:
        if self.direction not in list(Direction):
            raise UserError(f"direction is {self.direction!r}, but must be maximize or minimize")
        if not isinstance(self.decisions, Decisions) or not self.decisions:
            given = self.decisions or getattr(self.function, "decisions", {})
            object.__setattr__(self, "decisions", _table(given))

    @cached_property
    def function(self) -> Callable[..., Any]:
        """What is called."""
        if not self.call:
            raise UserError("the task `function` needs `call`: the function as package.module:name")
        function = load("workers.tasks", self.call, Task) if isinstance(self.call, str) else self.call
        if not callable(function) or isinstance(function, type):
            raise UserError(f"{self.call!r} is {type(function).__name__}, but must be a function of decisions")
        return function

    @cached_property
    def further(self) -> tuple[str, ...]:
        """Which of epochs, seed and model the function asks for."""
        try:
            known = inspect.signature(self.function).parameters
        except (TypeError, ValueError):  # some built-in functions do not say
            return ()
        return tuple(name for name in GIVEN if name in list(known)[1:])

    @property
    def signature(self) -> Signature:
        return Signature("function")

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        return (Objective(self.metric, Direction(self.direction)),)

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        """The metrics that the function returns, or yields one after the other; `state` is never there."""
        values = {"epochs": trial.epochs, "seed": trial.seed, "model": model}
        answer = self.function(dict(trial.candidate.json()), **{name: values[name] for name in self.further})
        if isinstance(answer, Iterator):
            for metrics in answer:
                yield Epoch(self._metrics(metrics))
        else:
            yield Epoch(self._metrics(answer))

    def _metrics(self, answer: object) -> dict[str, float]:
        if isinstance(answer, Mapping):
            return {str(name): _score(value) for name, value in answer.items()}
        return {self.metric: _score(answer)}


def _score(value: object) -> float:
    if isinstance(value, float):
        return value
    if isinstance(value, Real) or hasattr(value, "item"):  # numbers of numpy and torch have `item`
        return float(value)  # type: ignore[arg-type]
    raise UserError(
        f"the function gave {value!r}, but must return a number or a dict of metric names to numbers, or yield these"
    )


def _table(given: Mapping[str, Any]) -> Decisions:
    try:
        table = {
            name: one if isinstance(one, Choice | Range) else decision_from_json(one) for name, one in given.items()
        }
        return Decisions(table, partial=True)
    except (DecisionError, AttributeError, TypeError) as error:
        raise UserError(
            f"decisions must be a table of names to {{choice: [...]}} or {{range: [low, high]}}: {error}"
        ) from error
