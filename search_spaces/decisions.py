"""Candidate, Decisions: an ordered table of decisions, and every view of it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from random import Random
from types import MappingProxyType
from typing import final

from search_spaces.decision import Choice, Decision, DecisionError, Range, Value

SHOWN = 12  # names in a message


@final
class Candidate(Mapping[str, Value]):
    """A value for every active decision, in the table's order; immutable, hashable, plain JSON."""

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)
        self._hash: int | None = None

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._values.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, Candidate) else other)

    def __repr__(self) -> str:
        return f"Candidate({self._values})"

    def json(self) -> dict[str, Value]:
        """The values as a dict that `json` can write; `Decisions.candidate` reads it back."""
        return dict(self._values)


@final
class Decisions(Mapping[str, Decision]):
    """An ordered table of named decisions; a condition may only look at decisions before its own.

    A `partial` table is brought into such an order, and its conditions may look at decisions that only the table has
    with which `|` unites it: that one is checked.
    """

    def __init__(self, table: Mapping[str, Decision] | None = None, *, partial: bool = False) -> None:
        table = _ordered(dict(table or {}), partial=True) if partial else dict(table or {})
        seen = {clause.name for d in table.values() if d.when for clause in d.when.clauses} if partial else set()
        for name, decision in table.items():
            for clause in decision.when.clauses if decision.when else ():
                if clause.name not in seen:
                    raise DecisionError(
                        f"{name} is active only when {clause.name} {clause.relation} {clause.value!r}, "
                        f"but no earlier decision has that name: {_suggest(clause.name, seen)}"
                    )
                if clause.relation == ">=" and not _comparable(clause.value, table.get(clause.name)):
                    raise DecisionError(
                        f"{name} is active only when {clause.name} >= {clause.value!r}, "
                        f"but {clause.name} is {table[clause.name].rule}: compare numbers, or use =="
                    )
            seen.add(name)
        self._table = MappingProxyType(table)
        self._rows = tuple((name, decision, decision.when) for name, decision in table.items())
        self._movable = frozenset(n for n, d in table.items() if isinstance(d, Range) or len(d.options) > 1)

    def __getitem__(self, name: str) -> Decision:
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __hash__(self) -> int:
        return hash(frozenset(self._table.items()))

    def __or__(self, other: Decisions) -> Decisions:
        """Both tables as one, each decision moved behind those its condition looks at."""
        if clash := sorted(set(self) & set(other)):
            raise DecisionError(f"{', '.join(clash)} stands in both tables: rename one of them")
        return Decisions(_ordered({**self._table, **other._table}))

    @cached_property
    def hanging(self) -> frozenset[str]:
        """The decisions whose condition looks, itself or through others, at one that is not in this table."""
        found: set[str] = set()
        for name, _, when in self._rows:
            if when and any(clause.name not in self._table or clause.name in found for clause in when.clauses):
                found.add(name)
        return frozenset(found)

    def active(self, values: Mapping[str, Value]) -> list[str]:
        """The names of the decisions that are active under `values`."""
        return [name for name, _, when in self._rows if when is None or when.holds(values)]

    def sample(self, generator: Random) -> Candidate:
        """A candidate drawn uniformly, decision by decision."""
        return self.complete({}, generator)

    def complete(self, fixed: Mapping[str, Value], generator: Random) -> Candidate:
        """A candidate with the values of `fixed` where they are active, the rest drawn."""
        values: dict[str, Value] = {}
        for name, decision, when in self._rows:
            if when is None or when.holds(values):
                values[name] = fixed[name] if name in fixed else decision.sample(generator)
        return Candidate(values)

    def mutate(self, candidate: Candidate, generator: Random) -> Candidate:
        """`candidate` with one active decision changed; what that switches on is drawn, what it switches off goes."""
        movable = [name for name in candidate if name in self._movable]
        if not movable:
            return candidate
        name = movable[int(generator.random() * len(movable))]
        changed = self._table[name].change(candidate[name], generator)
        return self.complete({**candidate, name: changed}, generator)

    def neighbours(self, candidate: Candidate, generator: Random) -> Iterator[Candidate]:
        """`candidate` with one active decision changed, in every way that its `neighbours` name, in the table's order.

        What a change switches on is drawn, what it switches off goes.
        """
        for name, value in candidate.items():
            for near in self._table[name].neighbours(value):
                yield self.complete({**candidate, name: near}, generator)

    def candidate(self, values: Mapping[str, object]) -> Candidate:
        """The candidate that `values` (read from a file, say) describes, every value checked against its decision."""
        checked: dict[str, Value] = {}
        for name, decision, when in self._rows:
            if when is None or when.holds(checked):
                if name not in values:
                    raise DecisionError(f"{name} is missing: it must be {decision.rule}")
                checked[name] = decision.check(name, values[name])
        for name in values:
            if name not in self._table:
                raise DecisionError(f"{name!r} is no decision of this search: {_suggest(name, self)}")
            if name not in checked:
                raise DecisionError(f"{name} is given, but is not active beside the other values: leave it out")
        return Candidate(checked)

    def tokens(self, candidate: Candidate) -> tuple[int, ...]:
        """One index into `points` per decision, -1 where it is inactive: what the controller emits."""
        return tuple(decision.token(candidate[name]) if name in candidate else -1 for name, decision, _ in self._rows)

    def from_tokens(self, tokens: Sequence[int]) -> Candidate:
        """The candidate that emits `tokens`; tokens of inactive decisions are not read."""
        values: dict[str, Value] = {}
        for (name, decision, when), token in zip(self._rows, tokens, strict=True):
            if when is None or when.holds(values):
                values[name] = decision.points[token]
        return Candidate(values)

    def encode(self, candidate: Candidate) -> list[float]:
        """The vector a surrogate reads: one-hot choices, numbers in [0, 1]; zeros where inactive."""
        columns: list[float] = []
        for name, decision, _ in self._rows:
            columns += decision.encode(candidate[name]) if name in candidate else [0.0] * decision.width
        return columns

    def decode(self, columns: Sequence[float]) -> Candidate:
        """The candidate that encodes as `columns`, or nearly so."""
        values: dict[str, Value] = {}
        place = 0
        for name, decision, when in self._rows:
            if when is None or when.holds(values):
                values[name] = decision.decode(columns[place : place + decision.width])
            place += decision.width
        return Candidate(values)

    def size(self) -> float:
        """How many candidates there are, exactly where all are choices and integers; `inf` with real numbers."""
        if any(isinstance(d, Range) and not d.integer for d in self._table.values()):
            return math.inf
        last_use = {c.name: i for i, (_, _, w) in enumerate(self._rows) for c in (w.clauses if w else ())}
        states: dict[tuple[tuple[str, Value], ...], int] = {(): 1}
        for index, (name, decision, when) in enumerate(self._rows):
            following: dict[tuple[tuple[str, Value], ...], int] = {}
            for state, count in states.items():
                kept = tuple(item for item in state if last_use.get(item[0], -1) > index)
                active = when is None or when.holds(dict(state))
                for key, weight in _branches(name, decision, active, last_use.get(name, -1) > index):
                    following[kept + key] = following.get(kept + key, 0) + count * weight
            states = following
        return sum(states.values())


def _ordered(table: Mapping[str, Decision], partial: bool = False) -> dict[str, Decision]:
    """`table` with each decision moved behind those its condition looks at; what can not be placed comes last."""
    waiting = dict(table)
    ordered: dict[str, Decision] = {}
    while waiting:
        for name, decision in waiting.items():
            needed = [clause.name for clause in decision.when.clauses] if decision.when else []
            if all(one in ordered or (partial and one not in table) for one in needed):
                ordered[name] = waiting.pop(name)
                break
        else:
            return {**ordered, **waiting}  # which `Decisions` refuses, naming the missing or circular condition
    return ordered


def _comparable(value: object, decision: Decision | None) -> bool:
    """Whether the values of `decision` (None: not known yet) can be compared with `value` by size."""
    options = decision.options if isinstance(decision, Choice) else ()
    return all(isinstance(one, int | float) for one in (value, *options))


def _branches(
    name: str, decision: Decision, active: bool, needed: bool
) -> Iterator[tuple[tuple[tuple[str, Value], ...], int]]:
    """The states that one decision leads to, each with the number of values that lead there."""
    if not active:
        yield (), 1
        return
    values: Sequence[Value]
    if isinstance(decision, Choice):
        values = decision.options
    else:
        values = range(int(decision.low), int(decision.high) + 1)
    if needed:
        yield from (((((name, value),), 1)) for value in values)
    else:
        yield (), len(values)


def _suggest(name: str, names: Iterable[str]) -> str:
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"there are {', '.join(known[:SHOWN])}{more}" if known else "there are none"
