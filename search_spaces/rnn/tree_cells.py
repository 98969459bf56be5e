"""Tree cells (Zoph & Le 2017, section 3.4): a balanced binary tree over inputs and state, and a memory beside it.

Decisions, for tree index i = 0, 1, ..., the leaves first and the root last:

| name | value |
|---|---|
| `index<i>_combine`, `index<i>_activation` | how the two sides are combined: `add`, `product`; what follows |
| `inject_combine`, `inject_activation` | how the memory is combined with a node; what follows |
| `memory_index` | which node gives the new memory, before its activation |
| `inject_index` | which node the memory is combined with |

With base 8 there are 15 nodes, hence 8^16 * 15^2 = 6.3e16 cells, which the paper gives as about 6e16.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from search_spaces.decision import Choice, Decision, DecisionError, Value
from search_spaces.rnn.cell_family import ACTIVATIONS, CellCosts, CellFamily, CellJson, known
from search_spaces.space import Graph, Node

COMBINATIONS = ("add", "product")


@final
@dataclass(frozen=True)
class TreeCells(CellFamily):
    """Cells with `base` leaves, a power of 2."""

    base: int = 8
    activations: Sequence[str] = ACTIVATIONS
    combine: Sequence[str] = COMBINATIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "activations", tuple(self.activations))
        object.__setattr__(self, "combine", tuple(self.combine))
        known("activations", self.activations, ACTIVATIONS)
        known("combine", self.combine, COMBINATIONS)
        if self.base < 2 or self.base & (self.base - 1):
            raise DecisionError(f"base is {self.base}, but the leaves of a balanced tree are 2, 4, 8, ...")

    @cached_property
    def decisions(self) -> Mapping[str, Decision]:
        combine, activation = Choice(tuple(self.combine)), Choice(tuple(self.activations))
        nodes = 2 * self.base - 1
        table: dict[str, Decision] = {}
        for place in (*(f"index{index}" for index in range(nodes)), "inject"):
            table |= {f"{place}_combine": combine, f"{place}_activation": activation}
        indices = Choice(tuple(range(nodes)))
        return {**table, "memory_index": indices, "inject_index": indices}

    def cell(self, candidate: Mapping[str, Any]) -> CellJson:
        places = [*(f"index{index}" for index in range(2 * self.base - 1)), "inject"]
        *nodes, inject = [[candidate[f"{place}_combine"], candidate[f"{place}_activation"]] for place in places]
        further = {"inject": inject, "injected": candidate["inject_index"], "memory": candidate["memory_index"]}
        return {"family": "tree", "nodes": nodes, **further}

    def values(self, cell: CellJson) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for index, (combine, activation) in enumerate(cell["nodes"]):
            values |= {f"index{index}_combine": combine, f"index{index}_activation": activation}
        combine, activation = cell["inject"]
        values |= {"inject_combine": combine, "inject_activation": activation}
        return {**values, "memory_index": cell["memory"], "inject_index": cell["injected"]}

    @staticmethod
    def key(cell: CellJson) -> Hashable:
        nodes = cell["nodes"]
        leaves = (len(nodes) + 1) // 2
        keys: list[tuple[Any, ...]] = []
        for index, (combine, activation) in enumerate(nodes):
            inject = tuple(cell["inject"]) if index == cell["injected"] else ()
            first = 2 * (index - leaves)
            sides = sorted(keys[first : first + 2]) if index >= leaves else []
            keys.append((combine, activation, index == cell["memory"], inject, *sides))
        return keys[-1]

    @staticmethod
    def costs(cell: CellJson, inputs: int, hidden: int) -> CellCosts:
        nodes = len(cell["nodes"])
        leaves = (nodes + 1) // 2
        weights = leaves * hidden * (inputs + hidden)
        return CellCosts(weights, weights, 2 * hidden * (leaves + nodes + 1))

    @staticmethod
    def drawing(cell: CellJson) -> Graph:
        leaves = (len(cell["nodes"]) + 1) // 2
        vertices = [Node(name, name) for name in ("inputs", "state", "memory")]
        edges: list[tuple[str, str]] = []
        names: list[str] = []
        for index, pair in enumerate(cell["nodes"]):
            name, first = f"index{index}", 2 * (index - leaves)
            vertices.append(Node(name, " ".join(pair)))
            edges += [(side, name) for side in (names[first : first + 2] if index >= leaves else ("inputs", "state"))]
            if index == cell["injected"]:
                vertices.append(Node("inject", " ".join(cell["inject"])))
                edges += [(name, "inject"), ("memory", "inject")]
                name = "inject"
            names.append(name)
        vertices += [Node("new_memory", "new memory"), Node("output", "output")]
        return Graph(tuple(vertices), (*edges, (f"index{cell['memory']}", "new_memory"), (names[-1], "output")))
