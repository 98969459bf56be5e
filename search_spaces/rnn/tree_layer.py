"""TreeLayer: the recurrent cell of Zoph & Le (2017), a balanced binary tree beside a memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from search_spaces.rnn.nonlinearities import NONLINEARITIES
from search_spaces.rnn.recurrent_layer import RecurrentLayer, State, Step, masked

COMBINATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"add": torch.add, "product": torch.mul}


@final
class TreeLayer(RecurrentLayer):
    """`cell`: `nodes` as [combination, activation], leaves first and the root last; `inject`, `injected`, `memory`.

    Leaf i combines W_i x and U_i h, an inner node its two children, and then comes the activation. `inject` combines
    the value of node `injected` with the memory c. The root is the new h; the new c is what node `memory` has before
    its activation. There are no biases. Zoph & Le 2017, section 3.4: https://arxiv.org/abs/1611.01578
    """

    def __init__(self, cell: Mapping[str, Any], inputs: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(hidden, [hidden, hidden], dropout)
        pairs = [*cell["nodes"], cell["inject"]]
        *self.nodes, self.inject = [(COMBINATIONS[combine], NONLINEARITIES[name]) for combine, name in pairs]
        self.injected, self.memory = int(cell["injected"]), int(cell["memory"])
        self.leaves = (len(self.nodes) + 1) // 2
        self.inputs = nn.Linear(inputs, self.leaves * hidden, bias=False)
        self.state = nn.Linear(hidden, self.leaves * hidden, bias=False)
        self.begin()

    def prepared(self, inputs: Tensor) -> Tensor:
        values: Tensor = self.inputs(inputs)
        return values

    def stepping(self, mask: Tensor | None) -> Step:
        weight = self.state.weight.t()

        def step(row: Tensor, state: State) -> tuple[Tensor, State]:
            hidden, memory = state
            left = row.chunk(self.leaves, 1)
            right = torch.mm(masked(hidden, mask), weight).chunk(self.leaves, 1)
            pairs = list(zip(left, right, strict=True))
            values: list[Tensor] = []
            kept = memory
            for index, (combine, activation) in enumerate(self.nodes):
                if index >= self.leaves:
                    first = 2 * (index - self.leaves)
                    pairs.append((values[first], values[first + 1]))
                before = combine(*pairs[index])
                kept = before if index == self.memory else kept
                value = activation(before)
                if index == self.injected:
                    value = self.inject[1](self.inject[0](value, memory))
                values.append(value)
            return values[-1], (values[-1], kept)

        return step
