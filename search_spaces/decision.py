"""Choice, Range, When: one decision, and the condition under which it is active."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Literal, TypeAlias, final

Value: TypeAlias = str | int | float | bool
Relation: TypeAlias = Literal["in", "==", ">="]


class DecisionError(ValueError):
    """A decision, a condition or a candidate breaks its rule; the message says value, rule and remedy."""


@final
@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison of an earlier decision with a constant."""

    name: str
    relation: Relation
    value: Value | tuple[Value, ...]

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether `values` satisfies the clause; an inactive (absent) decision satisfies none."""
        if self.name not in values:
            return False
        found = values[self.name]
        if self.relation == "in":
            return isinstance(self.value, tuple) and found in self.value
        if self.relation == "==":
            return found == self.value
        return bool(found >= self.value)  # type: ignore[operator]


@final
@dataclass(frozen=True, slots=True)
class When:
    """A conjunction of clauses: data that can be stored and shown, not code."""

    clauses: tuple[Clause, ...]

    @classmethod
    def equals(cls, name: str, value: Value) -> When:
        """That `name` is `value`."""
        return cls((Clause(name, "==", value),))

    @classmethod
    def at_least(cls, name: str, value: float) -> When:
        """That `name` is a number not below `value`."""
        return cls((Clause(name, ">=", value),))

    @classmethod
    def among(cls, name: str, *values: Value) -> When:
        """That `name` is one of `values`."""
        return cls((Clause(name, "in", values),))

    def __and__(self, other: When) -> When:
        return When(self.clauses + other.clauses)

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether `values` satisfies every clause."""
        return all(clause.holds(values) for clause in self.clauses)


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """One of finitely many options; where they are `ordered`, numbers that grow, those beside each other are alike."""

    options: tuple[Value, ...]
    when: When | None = None
    ordered: bool = False

    def __post_init__(self) -> None:
        if not self.options:
            raise DecisionError("a choice has no options: give at least one")
        if len(set(self.options)) != len(self.options):
            raise DecisionError(f"the options {list(self.options)} repeat a value: each may stand there once")
        if self.ordered and not growing(self.options):
            raise DecisionError(f"the options {list(self.options)} do not grow: sort the numbers, or leave out ordered")

    @property
    def points(self) -> tuple[Value, ...]:
        """The values that a grid, or a controller's tokens, can take."""
        return self.options

    @property
    def width(self) -> int:
        """Columns in the encoded vector: one per option."""
        return len(self.options)

    def sample(self, generator: Random) -> Value:
        """An option, all being equally likely."""
        return self.options[int(generator.random() * len(self.options))]

    def change(self, value: Value, generator: Random) -> Value:
        """A different option, or the same one where there is no other."""
        others = [option for option in self.options if option != value]
        return others[int(generator.random() * len(others))] if others else value

    def neighbours(self, value: Value) -> tuple[Value, ...]:
        """Every other option; where they are ordered, the one before and the one behind."""
        if not self.ordered:
            return tuple(option for option in self.options if option != value)
        place = self.options.index(value)
        return self.options[max(0, place - 1) : place] + self.options[place + 1 : place + 2]

    def token(self, value: Value) -> int:
        """The place of `value` among `points`."""
        return self.options.index(value)

    def encode(self, value: Value) -> list[float]:
        """One-hot."""
        return [float(option == value) for option in self.options]

    def decode(self, columns: Sequence[float]) -> Value:
        """The option with the largest column."""
        return self.options[max(range(len(columns)), key=columns.__getitem__)]

    @property
    def rule(self) -> str:
        """What a value must be, in words."""
        return f"one of {', '.join(map(repr, self.options))}"

    def check(self, name: str, value: object) -> Value:
        """The option equal to `value` (so that 1 read as 1.0 stays an integer)."""
        for option in self.options:
            if option == value and isinstance(value, bool) == isinstance(option, bool):
                return option
        raise DecisionError(f"{name} is {value!r}, but must be {self.rule}")


@final
@dataclass(frozen=True, slots=True)
class Range:
    """A number between `low` and `high`, both included; `count` is how many points a grid puts there."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    count: int = 8
    when: When | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise DecisionError(f"the range [{self.low}, {self.high}] is not finite: give two numbers")
        if not self.low < self.high:
            raise DecisionError(f"the range [{self.low}, {self.high}] is empty: low must be smaller than high")
        if self.log and self.low <= 0:
            raise DecisionError(f"the logarithmic range [{self.low}, {self.high}] must start above 0")
        if self.integer and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise DecisionError(f"the integer range [{self.low}, {self.high}] needs whole numbers as bounds")
        if self.count < 2:
            raise DecisionError(f"points is {self.count}, but a range needs at least 2")

    @property
    def points(self) -> tuple[Value, ...]:
        """The values of a grid of `count` points, evenly spread; fewer where whole numbers fall together."""
        return tuple(dict.fromkeys(self.from_unit(i / (self.count - 1)) for i in range(self.count)))

    @property
    def width(self) -> int:
        """Columns in the encoded vector: the place in the range, and whether the decision is active."""
        return 2

    def to_unit(self, value: float) -> float:
        """The place of `value` in the range, from 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def from_unit(self, place: float) -> Value:
        """The value at `place`; what lies outside 0 to 1 is the nearer bound."""
        place = min(1.0, max(0.0, place))
        if self.log:
            value = self.low * (self.high / self.low) ** place
        else:
            value = self.low + place * (self.high - self.low)
        value = min(self.high, max(self.low, value))
        return round(value) if self.integer else float(value)

    def sample(self, generator: Random) -> Value:
        """A number, all (with `log`: all orders of magnitude) being equally likely."""
        if self.integer and not self.log:
            low, high = int(self.low), int(self.high)
            return min(high, low + int(generator.random() * (high - low + 1)))  # half of randint's time
        return self.from_unit(generator.random())

    def change(self, value: Value, generator: Random) -> Value:
        """A nearby value: a step of normal size, a tenth of the range wide (a fifth for one in four)."""
        spread = 0.2 if generator.random() < 0.25 else 0.1
        for _ in range(16):
            changed = self.from_unit(self.to_unit(float(value)) + generator.gauss(0, spread))
            if changed != value:
                return changed
        return self.from_unit(0.0 if value != self.from_unit(0.0) else 1.0)

    def neighbours(self, value: Value) -> tuple[Value, ...]:
        """The values a step of the grid, and a quarter of it, away on either side; whole numbers at least 1 away."""
        place, step = self.to_unit(float(value)), 1 / (self.count - 1)
        found = [self.from_unit(place + part * step) for part in (-1.0, -0.25, 0.25, 1.0)]
        if self.integer:
            found += [near for near in (int(value) - 1, int(value) + 1) if self.low <= near <= self.high]
        return tuple(sorted(set(found) - {value}))

    def token(self, value: Value) -> int:
        """The place among `points` of the one that is nearest to `value`."""
        place = self.to_unit(float(value))
        points = self.points
        return min(range(len(points)), key=lambda i: abs(self.to_unit(float(points[i])) - place))

    def encode(self, value: Value) -> list[float]:
        """The place in the range, and 1 for active."""
        return [self.to_unit(float(value)), 1.0]

    def decode(self, columns: Sequence[float]) -> Value:
        """The value at the place that the first column names."""
        return self.from_unit(columns[0])

    @property
    def rule(self) -> str:
        """What a value must be, in words."""
        return f"a {'whole ' if self.integer else ''}number from {self.low} to {self.high}"

    def check(self, name: str, value: object) -> Value:
        """`value` as an int or a float; DecisionError where it is no number of this range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise DecisionError(f"{name} is {value!r}, but must be {self.rule}")
        if self.integer and not float(value).is_integer():
            raise DecisionError(f"{name} is {value!r}, but must be {self.rule}")
        return int(value) if self.integer else float(value)


Decision: TypeAlias = Choice | Range


def growing(options: Sequence[object]) -> bool:
    """Whether these are numbers, each larger than the one before it."""
    numbers = [one for one in options if isinstance(one, int | float) and not isinstance(one, bool)]
    return len(numbers) == len(options) and all(a < b for a, b in pairwise(numbers))
