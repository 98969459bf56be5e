"""GraphLayer: the cell of ENAS and DARTS, a graph of nodes that read one earlier node each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from search_spaces.rnn.nonlinearities import NONLINEARITIES
from search_spaces.rnn.recurrent_layer import RecurrentLayer, State, Step, masked


@final
class GraphLayer(RecurrentLayer):
    """`cell`: `nodes` as [activation, the node read], 0 being what inputs and state give; `output`: which are averaged.

    Node 0 moves the state h to h + c * (tanh(V [x, h]) - h), c = sigmoid(W [x, h]); a node moves the s that it reads to
    s + c * (activation(V s) - s), c = sigmoid(W s). There are no biases. As in the code published with DARTS (Liu et
    al. 2019), and as ENAS (Pham et al. 2018) trains the cells it found.
    """

    def __init__(self, cell: Mapping[str, Any], inputs: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(hidden, [hidden], dropout)
        self.activations = [NONLINEARITIES[name] for name, _ in cell["nodes"]]
        self.readers: dict[int, list[int]] = {}
        for node, (_, source) in enumerate(cell["nodes"], start=1):
            self.readers.setdefault(source, []).append(node)
        self.output = list(cell["output"])
        self.inputs = nn.Linear(inputs, 2 * hidden, bias=False)
        self.state = nn.Linear(hidden, 2 * hidden, bias=False)
        self.nodes = nn.ModuleList([nn.Linear(hidden, 2 * hidden, bias=False) for _ in cell["nodes"]])
        self.begin()

    def prepared(self, inputs: Tensor) -> Tensor:
        values: Tensor = self.inputs(inputs)
        return values

    def stepping(self, mask: Tensor | None) -> Step:
        first = self.state.weight.t()
        weights: list[Tensor] = [node.weight for node in self.nodes]  # type: ignore[misc]
        joined = [
            (source, nodes, torch.cat([weights[node - 1] for node in nodes]).t())
            for source, nodes in self.readers.items()
        ]

        def step(row: Tensor, state: State) -> tuple[Tensor, State]:
            gate, new = torch.addmm(row, masked(state[0], mask), first).chunk(2, 1)
            values = {0: torch.lerp(state[0], new.tanh(), gate.sigmoid())}
            for source, nodes, weight in joined:
                read = values[source]
                parts = iter(torch.mm(masked(read, mask), weight).chunk(2 * len(nodes), 1))
                for node, gate, new in zip(nodes, parts, parts, strict=True):
                    values[node] = torch.lerp(read, self.activations[node - 1](new), gate.sigmoid())
            output = torch.stack([values[node] for node in self.output]).mean(0)
            return output, (output,)

        return step
