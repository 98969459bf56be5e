"""Recipe: how a network is trained, every setting of which a job file may leave open as a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

from search_spaces.decision import Choice, Decision, DecisionError, Range, Value
from search_spaces.decision_json import decision_from_json, number
from search_spaces.decisions import Candidate, Decisions

OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw")
SCHEDULES = ("cosine", "step", "constant")
INITIALISERS = ("default", "kaiming", "xavier", "orthogonal")
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "hardswish", "tanh")
_SWITCH = Choice((True, False))
_AUTO = Choice(("auto", True, False))

RULES: Mapping[str, Decision] = {
    "optimizer": Choice(OPTIMIZERS),
    "learning_rate": Range(1e-9, 1e3),
    "momentum": Range(0.0, 0.9999),
    "schedule": Choice(SCHEDULES),
    "drops": Range(1, 100, integer=True),
    "drop_factor": Range(1e-6, 1.0),
    "weight_decay": Range(0.0, 1e3),
    "l1": Range(0.0, 1e3),
    "dropout": Range(0.0, 0.99),
    "label_smoothing": Range(0.0, 0.99),
    "gradient_clipping": Range(0.0, 1e9),
    "auxiliary": Range(0.0, 10.0),
    "batch_size": Range(2, 1 << 20, integer=True),
    "activation": Choice(ACTIVATIONS),
    "initialiser": Choice(INITIALISERS),
    "flip": _SWITCH,
    "crop": Range(0, 64, integer=True),
    "cutout": Range(0, 1024, integer=True),
    "bf16": _AUTO,
    "channels_last": _AUTO,
}
R = TypeVar("R", bound="Recipe")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of training, which a task inherits.

    A mapping in the place of a value (`{choice: ...}` or `{range: ...}`) leaves it open.

    `learning_rate` is the first of a schedule that is `Trial.horizon` epochs long: `cosine` falls to 0, `step` is
    multiplied by `drop_factor` after each of `drops` + 1 equal parts but the last. `momentum` is Nesterov's and belongs
    to the optimizer of that name. `weight_decay` is L2 (decoupled for adamw), `l1` the factor of the weights' absolute
    sum. `gradient_clipping` is the largest norm of the whole gradient, 0 for none; `auxiliary` weighs an auxiliary
    head's loss. `dropout` acts before the classifier. `crop` pads by so many pixels and cuts at a random place,
    `cutout` blanks a square of that side; None for these and `flip` is what is usual for the data set. `bf16` and
    `channels_last` are on where the device gains from them, unless they say true or false.
    """

    optimizer: str = "momentum"
    learning_rate: float = 0.05
    momentum: float = 0.9
    schedule: str = "cosine"
    drops: int = 2
    drop_factor: float = 0.1
    weight_decay: float = 5e-4
    l1: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    gradient_clipping: float = 5.0
    auxiliary: float = 0.4
    batch_size: int = 128
    activation: str = "relu"
    initialiser: str = "default"
    flip: bool | None = None
    crop: int | None = None
    cutout: int | None = None
    bf16: bool | str = "auto"
    channels_last: bool | str = "auto"

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Mapping):
                if one.name not in RULES:
                    raise DecisionError(f"{one.name} cannot be left to the search: only {', '.join(RULES)} can")
            elif one.name in RULES and value is not None:
                object.__setattr__(self, one.name, _checked(one.name, value))
        self.decisions  # noqa: B018 - so that a wrong decision is refused at once

    @cached_property
    def decisions(self) -> Decisions:
        """The settings that were left open; conditions may look at decisions of the space as well."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.name in RULES}
        return Decisions(
            {n: _opened(n, record) for n, record in given.items() if isinstance(record, Mapping)}, partial=True
        )

    def closed(self: R, candidate: Candidate) -> R:
        """This recipe with the values of `candidate`; a setting that is inactive there falls back to its default."""
        defaults = {one.name: one.default for one in fields(self)}
        values: dict[str, Any] = {name: candidate.get(name, defaults[name]) for name in self.decisions}
        return replace(self, **values)


def _checked(name: str, value: object) -> Value:
    rule = RULES[name]
    if isinstance(rule, Range):
        try:
            value = number(value)
        except DecisionError as error:
            raise DecisionError(f"{name}: {error}") from None
    return rule.check(name, value)


def _opened(name: str, record: Mapping[str, Any]) -> Decision:
    """The decision that a job file gives for setting `name`, every value of it within the setting's own rule."""
    try:
        decision = decision_from_json(record)
    except DecisionError as error:
        raise DecisionError(f"{name}: {error}") from None
    if isinstance(decision, Range) and isinstance(RULES[name], Choice):
        raise DecisionError(f"{name} is a range, but must be {RULES[name].rule}: write it as choice: [...]")
    if isinstance(decision, Choice):
        return Choice(tuple(_checked(name, option) for option in decision.options), decision.when)
    for value in (decision.low, decision.high):
        _checked(name, value)
    rule = RULES[name]
    return replace(decision, integer=True) if isinstance(rule, Range) and rule.integer else decision
