"""Recipe: how a network is trained, every setting of which a job file may leave open as a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from search_spaces.decision import Choice, Decision, DecisionError, Range, Value
from search_spaces.decision_json import decision_from_json, number
from search_spaces.decisions import Candidate, Decisions

OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw")
SCHEDULES = ("cosine", "step", "constant")
INITIALISERS = ("default", "kaiming", "xavier", "orthogonal")
R = TypeVar("R", bound="Recipe")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of training, which a task inherits; a task may add settings of its own, with their `rules`.

    A mapping in the place of a value (`{choice: ...}` or `{range: ...}`) leaves it open.

    `learning_rate` is the first of a schedule that is `Trial.horizon` epochs long: `cosine` falls to 0, `step` is
    multiplied by `drop_factor` after each of `drops` + 1 equal parts but the last. `momentum` is Nesterov's and belongs
    to the optimizer of that name. `weight_decay` is L2 (decoupled for adamw), `l1` the factor of the weights' absolute
    sum. `gradient_clipping` is the largest norm of the whole gradient, 0 for none.
    """

    optimizer: str = "momentum"
    learning_rate: float = 0.05
    momentum: float = 0.9
    schedule: str = "cosine"
    drops: int = 2
    drop_factor: float = 0.1
    weight_decay: float = 5e-4
    l1: float = 0.0
    gradient_clipping: float = 5.0
    batch_size: int = 128
    initialiser: str = "default"

    rules: ClassVar[Mapping[str, Decision]] = MappingProxyType(
        {
            "optimizer": Choice(OPTIMIZERS),
            "learning_rate": Range(1e-9, 1e3),
            "momentum": Range(0.0, 0.9999),
            "schedule": Choice(SCHEDULES),
            "drops": Range(1, 100, integer=True),
            "drop_factor": Range(1e-6, 1.0),
            "weight_decay": Range(0.0, 1e3),
            "l1": Range(0.0, 1e3),
            "gradient_clipping": Range(0.0, 1e9),
            "batch_size": Range(2, 1 << 20, integer=True),
            "initialiser": Choice(INITIALISERS),
        }
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Mapping):
                if one.name not in self.rules:
                    raise DecisionError(f"{one.name} cannot be left to the search: only {', '.join(self.rules)} can")
            elif one.name in self.rules and value is not None:
                object.__setattr__(self, one.name, _checked(one.name, value, self.rules[one.name]))
        self.decisions  # noqa: B018 - so that a wrong decision is refused at once

    @cached_property
    def decisions(self) -> Decisions:
        """The settings that were left open; conditions may look at decisions of the space as well."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.name in self.rules}
        table = {n: _opened(n, record, self.rules[n]) for n, record in given.items() if isinstance(record, Mapping)}
        return Decisions(table, partial=True)

    def closed(self: R, candidate: Candidate) -> R:
        """This recipe with the values of `candidate`; a setting that is inactive there falls back to its default."""
        defaults = {one.name: one.default for one in fields(self)}
        values: dict[str, Any] = {name: candidate.get(name, defaults[name]) for name in self.decisions}
        return replace(self, **values)


def _checked(name: str, value: object, rule: Decision) -> Value:
    if isinstance(rule, Range):
        try:
            value = number(value)
        except DecisionError as error:
            raise DecisionError(f"{name}: {error}") from None
    return rule.check(name, value)


def _opened(name: str, record: Mapping[str, Any], rule: Decision) -> Decision:
    """The decision that a job file gives for setting `name`, every value of it within the setting's own rule."""
    try:
        decision = decision_from_json(record)
    except DecisionError as error:
        raise DecisionError(f"{name}: {error}") from None
    if isinstance(decision, Range) and isinstance(rule, Choice):
        raise DecisionError(f"{name} is a range, but must be {rule.rule}: write it as choice: [...]")
    if isinstance(decision, Choice):
        return Choice(tuple(_checked(name, option, rule) for option in decision.options), decision.when)
    for value in (decision.low, decision.high):
        _checked(name, value, rule)
    return replace(decision, integer=True) if isinstance(rule, Range) and rule.integer else decision
