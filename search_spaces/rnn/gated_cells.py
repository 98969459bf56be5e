"""Gated cells: graphs of linear maps, sums, products and activations, among them LSTM and GRU.

Decisions, for node n = 2, 3, ...; node 1 is W x + U h + b of the inputs x and state 1, h:

| name | value |
|---|---|
| `nodes` | how many there are, one of the option `nodes` |
| `node<n>_kind` | what it does: below |
| `node<n>_input1` | v: `state1`, ..., or an earlier node; not with `linear_inputs` |
| `node<n>_input2` | the other side of `add` and `product` |
| `state<k>_node` | which node state k = 2, 3, ... becomes; the last node where there are not so many |

Kinds: `linear_inputs` (W x + b of the inputs x), `linear` (U v + b), `linear_both` (W x + U v + b), `scale` (p v with a
learned p for each number), `add`, `product`, `one_minus`, and activations.

The output is the mean of the nodes that no node reads, and state 1 becomes the output. So all nodes count. A state that
no node reads is not carried.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any, final

from search_spaces.decision import Choice, Decision, DecisionError, Value, When
from search_spaces.ordering import Vertex, canonical_order
from search_spaces.rnn.cell_family import ACTIVATIONS, CellCosts, CellFamily, CellJson, known, rising
from search_spaces.space import Graph, Node

WITH_INPUTS = ("linear_inputs", "linear_both")
PAIRS = ("add", "product")
FIRST = ("linear", "inputs", "state1")
KINDS = (*WITH_INPUTS, "linear", *PAIRS, "one_minus", "scale", *ACTIVATIONS)


@final
@dataclass(frozen=True)
class GatedCells(CellFamily):
    """Cells of `nodes` nodes of some `kinds` that carry at most `states` states."""

    nodes: int | Sequence[int] = 13
    states: int = 2
    kinds: Sequence[str] = KINDS

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        known("kinds", self.kinds, KINDS)
        if self.states < 1:
            raise DecisionError(f"states is {self.states}, but a recurrent cell carries at least 1")
        _ = self.sizes

    @cached_property
    def sizes(self) -> Sequence[int]:
        return rising("nodes", self.nodes, 1)

    @cached_property
    def decisions(self) -> Mapping[str, Decision]:
        table: dict[str, Decision] = {"nodes": Choice(tuple(self.sizes))}
        reading = [kind for kind in self.kinds if kind != "linear_inputs"]
        pairs = [kind for kind in self.kinds if kind in PAIRS]
        vertices = [*(f"state{state}" for state in range(1, self.states + 1)), "node1"]
        for node in range(2, self.sizes[-1] + 1):
            name, when = f"node{node}", When.at_least("nodes", node) if node > self.sizes[0] else None
            table[f"{name}_kind"] = Choice(tuple(self.kinds), when)
            if reading:
                table[f"{name}_input1"] = Choice(tuple(vertices), When.among(f"{name}_kind", *reading))
            if pairs:
                table[f"{name}_input2"] = Choice(tuple(vertices), When.among(f"{name}_kind", *pairs))
            vertices.append(name)
        for state in range(2, self.states + 1):
            table[f"state{state}_node"] = Choice(tuple(range(1, self.sizes[-1] + 1)))
        return table

    def cell(self, candidate: Mapping[str, Any]) -> CellJson:
        count = candidate["nodes"]
        nodes = [FIRST, *(_node(candidate, f"node{node}") for node in range(2, count + 1))]
        after = ["output", *(f"node{min(candidate[f'state{k}_node'], count)}" for k in range(2, self.states + 1))]
        read = {source for _, *sources in nodes for source in sources}
        kept = [k for k in range(1, self.states + 1) if f"state{k}" in read]
        names = {f"state{k}": f"state{place}" for place, k in enumerate(kept, start=1)}
        nodes = [[kind, *(names.get(source, source) for source in sources)] for kind, *sources in nodes]
        output = [f"node{node}" for node in range(1, count + 1) if f"node{node}" not in read]
        return {"family": "gated", "nodes": nodes, "output": output, "states": [after[k - 1] for k in kept]}

    def values(self, cell: CellJson) -> dict[str, Value]:
        nodes, states = cell["nodes"], cell["states"]
        values: dict[str, Value] = {"nodes": len(nodes)}
        for node, (kind, *sources) in enumerate(nodes[1:], start=2):
            name, others = f"node{node}", [source for source in sources if source != "inputs"]
            if kind == "linear" and "inputs" in sources:
                kind = "linear_both" if others else "linear_inputs"
            values |= {f"{name}_kind": kind}
            values |= {f"{name}_input{side}": source for side, source in enumerate(others, start=1)}
        further = [int(one.removeprefix("node")) for one in states[1:] if one.startswith("node")]
        further += [1] * (self.states - 1 - len(further))
        return {**values, **{f"state{state}_node": node for state, node in enumerate(further, start=2)}}

    @staticmethod
    def key(cell: CellJson) -> Hashable:
        return min(canonical_order(_vertices(cell, order)) for order in permutations(range(len(cell["states"]))))

    @staticmethod
    def costs(cell: CellJson, inputs: int, hidden: int) -> CellCosts:
        matrices = scales = biases = 0
        for kind, *sources in cell["nodes"]:
            if kind == "linear":
                biases += hidden
                matrices += hidden * sum(inputs if source == "inputs" else hidden for source in set(sources))
            elif kind == "scale":
                scales += hidden
        averaged = len(cell["output"]) > 1
        return CellCosts(matrices + biases + scales, matrices, hidden * (len(cell["nodes"]) + averaged))

    @staticmethod
    def drawing(cell: CellJson) -> Graph:
        edges = [
            (source, f"node{node}")
            for node, (_, *sources) in enumerate(cell["nodes"], start=1)
            for source in dict.fromkeys(sources)
        ]
        edges += [(node, "output") for node in cell["output"]]
        edges += [(one, f"new_state{k}") for k, one in enumerate(cell["states"], start=1) if one != "output"]
        names = ["inputs", *(f"state{k}" for k in range(1, len(cell["states"]) + 1))]
        labels = {name: name for name in names}
        labels |= {f"node{node}": kind for node, (kind, *_) in enumerate(cell["nodes"], start=1)}
        labels["output"] = "mean" if len(cell["output"]) > 1 else "output"
        labels |= {f"new_state{k}": f"new state{k}" for k in range(1, len(cell["states"]) + 1)}
        used = {end for edge in edges for end in edge}
        return Graph(tuple(Node(name, label) for name, label in labels.items() if name in used), tuple(edges))


def _node(candidate: Mapping[str, Any], name: str) -> list[str]:
    """A node as `GatedLayer` takes it."""
    kind = str(candidate[f"{name}_kind"])
    sources = [] if kind == "linear_inputs" else [str(candidate[f"{name}_input1"])]
    if kind in WITH_INPUTS:
        return ["linear", "inputs", *sources]
    return [kind, *sources, str(candidate[f"{name}_input2"])] if kind in PAIRS else [kind, *sources]


def _vertices(cell: CellJson, order: Sequence[int]) -> list[Vertex]:
    """`cell` as a labelled graph, state k being called `order[k]`; a label says what a vertex gives, too."""
    states = cell["states"]
    numbers = {"inputs": 1, **{f"state{k}": 1 + k for k in range(1, len(states) + 1)}}

    def given(name: str) -> tuple[int, ...]:
        taking = sorted(order[place] for place, one in enumerate(states) if one == name)
        return (cell["output"].count(name), *taking)

    vertices: list[Vertex] = [((0,), ())]
    for place, after in enumerate(states):
        vertices.append(((1, order[place], after == "output", *given(f"state{place + 1}")), ()))
    for node, (kind, *sources) in enumerate(cell["nodes"], start=1):
        numbers[f"node{node}"] = len(vertices) + 1
        label = (2, KINDS.index(kind), *given(f"node{node}"))
        vertices.append((label, [numbers[one] for one in (set(sources) if kind == "linear" else sources)]))
    return vertices
