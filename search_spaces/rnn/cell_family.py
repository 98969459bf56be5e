"""CellFamily: recurrent cells of one kind as decisions, as plain JSON, as costs and as drawings; without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

from search_spaces.decision import Decision, DecisionError, Value
from search_spaces.space import Graph

CellJson: TypeAlias = Mapping[str, Any]  # what `layer_families.recurrent_layer` builds a layer from

ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")


@final
@dataclass(frozen=True)
class CellCosts:
    """What a layer costs: its parameters; the multiply-adds of one step, and the numbers that a step keeps."""

    parameters: int
    multiply_adds: int
    values: int


class CellFamily(ABC):
    """Subclasses are frozen dataclasses whose fields say which cells there are."""

    @property
    @abstractmethod
    def decisions(self) -> Mapping[str, Decision]:
        """The table; where cells have `sizes`, `nodes` stands first and says when a node's are active."""

    @abstractmethod
    def cell(self, candidate: Mapping[str, Any]) -> CellJson:
        """The cell that `candidate` describes; further decisions in it are not read."""

    @abstractmethod
    def values(self, cell: CellJson) -> dict[str, Value]:
        """The decisions that describe `cell`, if the table has it."""

    @staticmethod
    @abstractmethod
    def key(cell: CellJson) -> Hashable:
        """What two cells share exactly when they are equal up to the order of their parts."""

    @staticmethod
    @abstractmethod
    def costs(cell: CellJson, inputs: int, hidden: int) -> CellCosts:
        """What a layer of `cell` costs that reads `inputs` numbers at each step."""

    @staticmethod
    @abstractmethod
    def drawing(cell: CellJson) -> Graph:
        """One step: from inputs and states to the output and the new states."""

    @property
    def sizes(self) -> Sequence[int]:
        """The numbers of nodes that cells can have, rising."""
        return ()

    def smallest(self) -> Iterator[dict[str, Value]]:
        """The different cells of the least size, as decisions, one by one."""
        for least in self.sizes[:1]:
            yield from self._different({"nodes": least})

    def grow(self, candidate: Mapping[str, Any]) -> Iterator[dict[str, Value]]:
        """The different cells of the next larger size that begin as `candidate` does."""
        begun = {name: candidate[name] for name in self.decisions if name in candidate}
        for larger in [size for size in self.sizes if size > candidate["nodes"]][:1]:
            yield from self._different({**begun, "nodes": larger})

    def _different(self, start: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
        seen = set()
        for values in continued(self.decisions, start):
            key = self.key(self.cell(values))
            if key not in seen:
                seen.add(key)
                yield values


def continued(table: Mapping[str, Decision], start: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """`start` with every combination of the values of what else is active in `table`, one by one."""
    rows = [(name, decision) for name, decision in table.items() if name not in start]

    def following(values: dict[str, Value], place: int) -> Iterator[dict[str, Value]]:
        while place < len(rows):
            name, decision = rows[place]
            place += 1
            if decision.when is None or decision.when.holds(values):
                for value in decision.points:
                    yield from following({**values, name: value}, place)
                return
        yield values

    yield from following(dict(start), 0)


def rising(name: str, value: int | Sequence[int], least: int) -> tuple[int, ...]:
    """The sizes that an option gives, as one number or several; DecisionError where they do not rise from `least`."""
    sizes = (value,) if isinstance(value, int) else tuple(value)
    if not sizes or min(sizes) < least or list(sizes) != sorted(set(sizes)):
        raise DecisionError(f"{name} is {value}, but must be a number from {least} on, or several that rise")
    return sizes


def known(name: str, values: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise DecisionError unless `values` are some of `allowed`, none twice."""
    if not values or len(set(values)) < len(values) or not set(values) <= set(allowed):
        raise DecisionError(f"{name} is {list(values)}, but must name some of {', '.join(allowed)}, none twice")
