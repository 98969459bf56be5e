"""PeepholeLayer: the LSTM whose gates see the memory (Gers & Schmidhuber 2000)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from search_spaces.rnn.recurrent_layer import RecurrentLayer, State, Step, masked


@final
class PeepholeLayer(RecurrentLayer):
    """An LSTM with a weight from each number c of the memory to each of its three gates.

    i, f = sigmoid(W x + U h + p * c + b); c' = f * c + i * tanh(W x + U h + b); o = sigmoid(W x + U h + p * c' + b);
    h' = o * tanh(c'). The weights p are `early` for i and f, side by side, and `late` for o. The state is h, c. Where
    both are 0, this is torch's LSTM, whose two biases are one here.
    """

    def __init__(self, inputs: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(hidden, [hidden, hidden], dropout)
        self.inputs = nn.Linear(inputs, 4 * hidden)
        self.state = nn.Linear(hidden, 4 * hidden, bias=False)
        self.early = nn.Parameter(torch.empty(1, 2 * hidden))
        self.late = nn.Parameter(torch.empty(1, hidden))
        self.begin()

    def prepared(self, inputs: Tensor) -> Tensor:
        gates: Tensor = self.inputs(inputs)
        return gates

    def stepping(self, mask: Tensor | None) -> Step:
        weight, size = self.state.weight.t(), self.hidden
        early, late = self.early, self.late

        def step(row: Tensor, state: State) -> tuple[Tensor, State]:
            given, memory = state
            gates, new, out = torch.split(torch.addmm(row, masked(given, mask), weight), [2 * size, size, size], 1)
            into, kept = torch.addcmul(gates, early, memory.repeat(1, 2)).sigmoid().chunk(2, 1)
            memory = torch.addcmul(kept * memory, into, new.tanh())
            given = torch.addcmul(out, late, memory).sigmoid() * memory.tanh()
            return given, (given, memory)

        return step
