"""Codes: candidates as rows of numbers that a kernel can compare, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np

from search_spaces.decision import Choice, Clause, Decision, Range, Value
from search_spaces.decisions import Candidate, Decisions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows: TypeAlias = NDArray[np.float64]  # (candidates, decisions)

INACTIVE = -1.0
ALIKE = 3  # decisions with the same options that are counted together


@final
@dataclass(frozen=True, slots=True)
class Column:
    """One decision as a column: a category is the place of its option, a number its place between 0 and 1.

    An ordered choice is a number, its options being evenly spread. `steps` is how many values a number can take,
    infinite where it is real.
    """

    name: str
    decision: Decision
    categorical: bool
    steps: float

    @classmethod
    def of(cls, name: str, decision: Decision) -> Column:
        """The column of `decision`."""
        if isinstance(decision, Choice):
            count = len(decision.options)
            return cls(name, decision, not decision.ordered or count < 3, count)
        steps = decision.high - decision.low + 1 if decision.integer else np.inf
        return cls(name, decision, False, steps)

    def code(self, value: Value) -> float:
        """The number that stands for `value`."""
        if isinstance(self.decision, Range):
            return self.decision.to_unit(float(value))
        place = self.decision.options.index(value)
        return float(place) if self.categorical else place / (len(self.decision.options) - 1)

    def value(self, code: float) -> Value:
        """The value that `code` stands for."""
        if isinstance(self.decision, Range):
            return self.decision.from_unit(float(code))
        return self.decision.options[round(float(code) if self.categorical else code * (self.steps - 1))]

    def snapped(self, codes: Rows) -> Rows:
        """The nearest codes that stand for a value."""
        if self.categorical:
            return codes
        codes = np.clip(codes, 0.0, 1.0)
        if isinstance(self.decision, Choice):
            return np.rint(codes * (self.steps - 1)) / (self.steps - 1)
        if not self.decision.integer:
            return codes
        low, high = self.decision.low, self.decision.high
        if self.decision.log:
            whole = np.clip(np.rint(low * (high / low) ** codes), low, high)
            return np.asarray(np.log(whole / low) / np.log(high / low))
        return np.rint(codes * (high - low)) / (high - low)

    def drawn(self, count: int, generator: np.random.Generator) -> Rows:
        """Codes of `count` values drawn as `Decision.sample` draws them."""
        if isinstance(self.decision, Range):
            if self.decision.integer and not self.decision.log:
                return np.asarray(np.floor(generator.random(count) * self.steps) / (self.steps - 1))
            return self.snapped(generator.random(count))
        places = np.floor(generator.random(count) * self.steps)
        return places if self.categorical else places / (self.steps - 1)

    def holding(self, clause: Clause, codes: Rows) -> NDArray[np.bool_]:
        """Where a clause about this decision holds; where the decision is inactive it does not."""
        found, places = np.unique(codes, return_inverse=True)
        holds = [code != INACTIVE and clause.holds({self.name: self.value(code)}) for code in found.tolist()]
        return np.array(holds, dtype=bool)[places.reshape(codes.shape)]


@final
class Codes:
    """A table of decisions as columns of codes; a decision that is not active has the code `INACTIVE`."""

    def __init__(self, decisions: Decisions) -> None:
        self.decisions = decisions
        self.columns = tuple(Column.of(name, decision) for name, decision in decisions.items())
        self._place = {column.name: place for place, column in enumerate(self.columns)}
        self.categorical = np.array([column.categorical for column in self.columns], dtype=bool)
        self.conditional = tuple(p for p, column in enumerate(self.columns) if column.decision.when is not None)
        self.alike = _alike(self.columns)
        self.movable = np.array([column.steps > 1 for column in self.columns], dtype=bool)

    def __len__(self) -> int:
        """How many columns there are."""
        return len(self.columns)

    def rows(self, candidates: Iterable[Mapping[str, Value]]) -> Rows:
        """One row for each candidate."""
        tables = [
            {option: column.code(option) for option in column.decision.options}
            if isinstance(column.decision, Choice)
            else None
            for column in self.columns
        ]
        pairs = list(zip(self.columns, tables, strict=True))
        rows = [
            [
                INACTIVE
                if column.name not in one
                else column.code(one[column.name])
                if t is None
                else t[one[column.name]]
                for column, t in pairs
            ]
            for one in candidates
        ]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self))

    def candidate(self, row: Sequence[float] | Rows) -> Candidate:
        """The candidate of one row; what is not active under the values before it is not read."""
        values: dict[str, Value] = {}
        for column, code in zip(self.columns, row, strict=True):
            when = column.decision.when
            if when is None or when.holds(values):
                assert code != INACTIVE, f"{column.name} is active, but the row was not completed"
                values[column.name] = column.value(float(code))
        return Candidate(values)

    def completed(self, rows: Rows, generator: np.random.Generator) -> Rows:
        """`rows`, changed so that what is active has a value (drawn, where there was none) and nothing else has."""
        for place in self.conditional:
            column = self.columns[place]
            active = self.active(place, rows)
            missing = active & (rows[:, place] == INACTIVE)
            if missing.any():
                rows[missing, place] = column.drawn(int(missing.sum()), generator)
            rows[~active, place] = INACTIVE
        return rows

    def sample(self, count: int, generator: np.random.Generator) -> Rows:
        """Candidates drawn uniformly, decision by decision."""
        drawn = [column.drawn(count, generator) for column in self.columns]
        return self.completed(np.stack(drawn, axis=1) if drawn else np.zeros((count, 0)), generator)

    def active(self, place: int, rows: Rows) -> NDArray[np.bool_]:
        """In which rows the decision at `place` is active, going by those before it."""
        when = self.columns[place].decision.when
        found = np.ones(len(rows), dtype=bool)
        for clause in when.clauses if when else ():
            other = self._place[clause.name]
            found &= self.columns[other].holding(clause, rows[:, other])
        return found


def _alike(columns: Sequence[Column]) -> tuple[tuple[NDArray[np.int64], int], ...]:
    """The places of categories that share their options, where they are three or more, and how many options."""
    groups: dict[tuple[Value, ...], list[int]] = {}
    for place, column in enumerate(columns):
        if isinstance(column.decision, Choice) and column.categorical and column.steps > 1:
            groups.setdefault(column.decision.options, []).append(place)
    return tuple((np.array(places), len(options)) for options, places in groups.items() if len(places) >= ALIKE)
