"""Graph cells (ENAS, Pham et al. 2018; DARTS, Liu et al. 2019): each node reads one earlier node.

Decisions, for node n = 1, 2, ...:

| name | value |
|---|---|
| `nodes` | how many there are, one of the option `nodes` |
| `node<n>_reads` | which earlier node: 0 is what inputs and state give, m < n is node m; node 1 reads 0 |
| `node<n>_activation` | of its candidate value, which a gate mixes with what it reads |
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, final

from search_spaces.decision import Choice, Decision, DecisionError, Value, When
from search_spaces.rnn.cell_family import ACTIVATIONS, CellCosts, CellFamily, CellJson, known, rising
from search_spaces.space import Graph, Node

Output: TypeAlias = Literal["mean", "loose_ends"]


@final
@dataclass(frozen=True)
class GraphCells(CellFamily):
    """Cells of `nodes` nodes; the output is the mean of all (DARTS) or of those that no node reads (ENAS)."""

    nodes: int | Sequence[int] = 8
    activations: Sequence[str] = ACTIVATIONS
    output: Output = "mean"

    def __post_init__(self) -> None:
        object.__setattr__(self, "activations", tuple(self.activations))
        known("activations", self.activations, ACTIVATIONS)
        if self.output not in ("mean", "loose_ends"):
            raise DecisionError(f"output is {self.output!r}, but must be mean or loose_ends")
        _ = self.sizes

    @cached_property
    def sizes(self) -> Sequence[int]:
        return rising("nodes", self.nodes, 1)

    @cached_property
    def decisions(self) -> Mapping[str, Decision]:
        table: dict[str, Decision] = {"nodes": Choice(tuple(self.sizes))}
        for node in range(1, self.sizes[-1] + 1):
            when = When.at_least("nodes", node) if node > self.sizes[0] else None
            if node > 1:
                table[f"node{node}_reads"] = Choice(tuple(range(node)), when)
            table[f"node{node}_activation"] = Choice(tuple(self.activations), when)
        return table

    def cell(self, candidate: Mapping[str, Any]) -> CellJson:
        count = candidate["nodes"]
        nodes = [
            [candidate[f"node{node}_activation"], candidate[f"node{node}_reads"] if node > 1 else 0]
            for node in range(1, count + 1)
        ]
        output = list(range(1, count + 1)) if self.output == "mean" else loose_ends(nodes)
        return {"family": "graph", "nodes": nodes, "output": output}

    def values(self, cell: CellJson) -> dict[str, Value]:
        nodes = cell["nodes"]
        values: dict[str, Value] = {"nodes": len(nodes)}
        for node, (activation, source) in enumerate(nodes, start=1):
            values |= {f"node{node}_reads": source} if node > 1 else {}
            values[f"node{node}_activation"] = activation
        return values

    @staticmethod
    def key(cell: CellJson) -> Hashable:
        nodes, output = cell["nodes"], set(cell["output"])
        readers: list[list[tuple[Any, ...]]] = [[] for _ in range(len(nodes) + 1)]
        for node in range(len(nodes), 0, -1):
            activation, source = nodes[node - 1]
            readers[source].append((activation, node in output, *sorted(readers[node])))
        return tuple(sorted(readers[0]))

    @staticmethod
    def costs(cell: CellJson, inputs: int, hidden: int) -> CellCosts:
        nodes = len(cell["nodes"])
        weights = 2 * hidden * (inputs + hidden + nodes * hidden)
        return CellCosts(weights, weights, 3 * hidden * (nodes + 1) + hidden)

    @staticmethod
    def drawing(cell: CellJson) -> Graph:
        vertices = [Node("inputs", "inputs"), Node("state", "state"), Node("node0", "tanh")]
        edges = [("inputs", "node0"), ("state", "node0")]
        for node, (activation, source) in enumerate(cell["nodes"], start=1):
            vertices.append(Node(f"node{node}", activation))
            edges.append((f"node{source}", f"node{node}"))
        vertices.append(Node("output", "mean"))
        return Graph(tuple(vertices), (*edges, *((f"node{node}", "output") for node in cell["output"])))


def loose_ends(nodes: Sequence[Sequence[Any]]) -> list[int]:
    """The numbers of the nodes that no node reads."""
    read = {source for _, source in nodes}
    return [node for node in range(1, len(nodes) + 1) if node not in read]
