"""DARTS (Liu et al. 2019): a normal and a reduction cell of 4 nodes, each the sum of two operations on two states.

Decisions, for each kind of cell (`normal`, then `reduction`) and each node n:

| name | value |
|---|---|
| `<kind>_node<n>_inputs` | the two different states read, `0+1`: 0 previous cell, 1 the one before, 2 node 1, ... |
| `<kind>_node<n>_operation1`, `<kind>_node<n>_operation2` | the operation applied to the first, to the second |

All nodes are concatenated. Both inputs of a cell always go through ReLU-1x1-norm, or a factorized reduction where the
map before was larger. (The published code writes 0 for the cell before and 1 for the previous cell.)
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, final

from search_spaces.cnn.cell_space import CellSpace
from search_spaces.cnn.cells import INPUTS, Block, Cell, canonical_key
from search_spaces.cnn.layouts import Layout, spread
from search_spaces.decision import Choice, Decision, DecisionError
from search_spaces.decisions import Candidate, Decisions

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "average_pool_3x3",
    "identity",
    "separable_3x3",
    "separable_5x5",
    "dilated_separable_3x3",
    "dilated_separable_5x5",
)
KINDS = ("normal", "reduction")


@final
@dataclass(frozen=True)
class DartsSpace(CellSpace):
    """Two cells of `nodes` nodes; `cells` is the number of all cells, the reduction cells among them.

    The other options are `CellSpace`'s; there is no `imagenet` stem here.
    """

    operations: Sequence[str] = OPERATIONS
    cells: int = 8
    filters: int = 16
    nodes: int = 4

    code = "darts"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nodes < 1:
            raise DecisionError(f"nodes is {self.nodes}, but a cell has at least 1")
        if self.cells <= self.reductions:
            raise DecisionError(
                f"cells is {self.cells}, but must be above reductions, {self.reductions}: they are among them"
            )
        if self.stem != "cifar":
            raise DecisionError(f"stem is {self.stem!r}, but darts has only cifar: use pnas or nasnet for large images")

    @cached_property
    def decisions(self) -> Decisions:
        operations = Choice(tuple(self.operations))
        table: dict[str, Decision] = {}
        for kind in KINDS:
            for names, pairs in zip(self._names[kind], self._pairs, strict=True):
                table |= dict(zip(names, (Choice(tuple(pairs)), operations, operations), strict=True))
        return Decisions(table)

    def canonical(self, candidate: Candidate) -> Hashable:
        """As for every space; what `none` would have read makes no difference."""
        index: Mapping[Any, int] = self._index
        nothing = index.get("none", -1)
        keys = []
        for names in self._names.values():
            wiring = []
            for (inputs, name1, name2), pairs in zip(names, self._pairs, strict=True):
                first, second = pairs[candidate[inputs]]  # type: ignore[index]
                operation1, operation2 = index[candidate[name1]], index[candidate[name2]]
                first = 0 if operation1 == nothing else first
                second = 0 if operation2 == nothing else second
                wiring.append((first, operation1, second, operation2))
            keys.append(canonical_key(wiring))
        return tuple(keys)

    def cells_of(self, candidate: Mapping[str, Any]) -> dict[str, Cell]:
        cells = {}
        for kind, names in self._names.items():
            blocks = []
            for (inputs, name1, name2), pairs in zip(names, self._pairs, strict=True):
                first, second = pairs[candidate[inputs]]
                blocks.append(Block(candidate[name1], first, candidate[name2], second))
            cells[kind] = Cell(tuple(blocks), tuple(range(INPUTS, INPUTS + self.nodes)))
        return cells

    @cached_property
    def layout(self) -> Layout:
        return spread(self.cells, self.filters, self.reductions)

    @cached_property
    def _names(self) -> dict[str, tuple[tuple[str, str, str], ...]]:
        return {
            kind: tuple(
                (f"{kind}_node{n}_inputs", f"{kind}_node{n}_operation1", f"{kind}_node{n}_operation2")
                for n in range(1, self.nodes + 1)
            )
            for kind in KINDS
        }

    @cached_property
    def _pairs(self) -> tuple[dict[str, tuple[int, int]], ...]:
        """Per node: what its `inputs` may say, and the two states that this means."""
        return tuple(
            {f"{first}+{second}": (first, second) for first, second in combinations(range(INPUTS + node), 2)}
            for node in range(self.nodes)
        )

    @cached_property
    def _index(self) -> dict[str, int]:
        return {operation: index for index, operation in enumerate(self.operations)}
