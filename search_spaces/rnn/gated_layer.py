"""GatedLayer: a recurrent cell that is any graph of linear maps, sums, products and activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.rnn.nonlinearities import identity
from search_spaces.rnn.recurrent_layer import RecurrentLayer, State, Step, masked


def one_minus(values: Tensor) -> Tensor:
    """What a gate leaves to the other side."""
    return 1 - values


GATES: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "product": torch.mul,
    "one_minus": one_minus,
    "identity": identity,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
}


@final
@dataclass(frozen=True)
class Joint:
    """Linear maps that read the same: one matrix product for each source. `inputs` is whether they read the inputs."""

    nodes: tuple[str, ...]
    inputs: bool
    sources: tuple[str, ...]


@final
class GatedLayer(RecurrentLayer):
    """`cell`: `nodes` as [kind, what it reads, ...], called node1, node2, ...; `output`: the nodes that are averaged.

    `states` has what each state, called state1, state2, ..., becomes: `output` or a node. A `linear` node reads
    anything, `inputs` included: the sum of a matrix times each, and a bias. `scale` is a product with learned numbers;
    `add`, `product`, `one_minus` and activations have no weights.
    """

    def __init__(self, cell: Mapping[str, Any], inputs: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(hidden, [hidden for _ in cell["states"]], dropout)
        self.features, self.output, self.after = inputs, list(cell["output"]), list(cell["states"])
        self.linears, self.scales = nn.ModuleDict(), nn.ParameterDict()
        self.plan: list[tuple[str, str, tuple[str, ...]]] = []  # a node's name, its kind, what it reads
        reads: dict[tuple[str, ...], list[str]] = {}
        for number, (kind, *sources) in enumerate(cell["nodes"], start=1):
            name = f"node{number}"
            self.plan.append((name, kind, tuple(sources)))
            if kind == "linear":
                reads.setdefault(tuple(sorted(set(sources))), []).append(name)
                width = sum(inputs if source == "inputs" else hidden for source in set(sources))
                self.linears[name] = nn.Linear(width, hidden)
            elif kind == "scale":
                self.scales[name] = nn.Parameter(torch.empty(hidden))
        self.joints = [
            Joint(tuple(nodes), "inputs" in sources, tuple(source for source in sources if source != "inputs"))
            for sources, nodes in reads.items()
        ]
        self.begin()

    def prepared(self, inputs: Tensor) -> Tensor:
        nodes = [node for joint in self.joints if joint.inputs for node in joint.nodes]
        if not nodes:
            return inputs
        return functional.linear(inputs, self._weights(nodes, slice(self.features)), self._biases(nodes))

    def stepping(self, mask: Tensor | None) -> Step:
        products = {joint.nodes[0]: (joint, self._biases(joint.nodes), self._products(joint)) for joint in self.joints}
        widths = [self.hidden * len(joint.nodes) for joint in self.joints if joint.inputs]
        scales = dict(self.scales.items())

        def step(row: Tensor, state: State) -> tuple[Tensor, State]:
            values = {f"state{number}": one for number, one in enumerate(state, start=1)}
            given = iter(row.split_with_sizes(widths, 1) if widths else ())
            for name, kind, sources in self.plan:
                if name in products:
                    joint, biases, weights = products[name]
                    total = next(given) if joint.inputs else biases
                    for source, weight in zip(joint.sources, weights, strict=True):
                        total = torch.addmm(total, masked(values[source], mask), weight)
                    values.update(zip(joint.nodes, total.chunk(len(joint.nodes), 1), strict=True))
                elif kind == "scale":
                    values[name] = values[sources[0]] * scales[name]
                elif kind != "linear":
                    values[name] = GATES[kind](*[values[source] for source in sources])
            parts = [values[name] for name in self.output]
            values["output"] = parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)
            return values["output"], tuple(values[name] for name in self.after)

        return step

    def _products(self, joint: Joint) -> list[Tensor]:
        """For each source beside the inputs, the matrix (hidden, nodes * hidden) that it is multiplied with."""
        if not joint.sources:
            return []
        columns = slice(self.features if joint.inputs else 0, None)
        return list(self._weights(joint.nodes, columns).t().chunk(len(joint.sources), 0))

    def _weights(self, nodes: Iterable[str], columns: slice) -> Tensor:
        return torch.cat([self.linears[name].weight[:, columns] for name in nodes])  # type: ignore[index]

    def _biases(self, nodes: Iterable[str]) -> Tensor:
        return torch.cat([self.linears[name].bias for name in nodes])  # type: ignore[misc]
