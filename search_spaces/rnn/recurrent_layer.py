"""RecurrentLayer: what every recurrent cell is as a layer: sequences and states in, sequences and states out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

State: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[[Tensor, State], tuple[Tensor, State]]  # what the inputs gave for a step, state -> output


class RecurrentLayer(nn.Module, ABC):
    """Inputs (batch, steps, features), and each state (batch, size) -> outputs (batch, steps, `hidden`), each state.

    `state_sizes` has the size of each carried state; where none is given, all are zeros. A sequence in pieces, the
    state carried on, gives what the whole gives. In training, what matrices read (the inputs aside) loses each number
    with the probability `dropout`, the same numbers at every step (variational dropout, Gal & Ghahramani 2016).
    """

    def __init__(self, hidden: int, state_sizes: list[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden = hidden
        self.state_sizes = state_sizes
        self.dropout = dropout

    @abstractmethod
    def prepared(self, inputs: Tensor) -> Tensor:
        """What the inputs alone give, for all steps in one matrix product: (batch, steps, any)."""

    @abstractmethod
    def stepping(self, mask: Tensor | None) -> Step:
        """One step; `mask` (batch, hidden) is what dropout leaves, None where nothing is dropped."""

    def forward(self, inputs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        if not state:
            state = tuple(inputs.new_zeros(inputs.shape[0], size) for size in self.state_sizes)
        mask = None
        if self.training and self.dropout:
            mask = functional.dropout(inputs.new_ones(inputs.shape[0], self.hidden), self.dropout)
        step, prepared, outputs = self.stepping(mask), self.prepared(inputs), []
        state = tuple(one.to(prepared.dtype) for one in state)  # which autocast may have made a smaller one
        for row in prepared.unbind(1):
            output, state = step(row, state)
            outputs.append(output)
        return torch.stack(outputs, 1), *state

    def begin(self) -> None:
        """Draw all weights anew, U(-k, k) with k = 1 / sqrt(hidden), as torch's recurrent layers begin."""
        bound = self.hidden**-0.5
        with torch.no_grad():
            for weight in self.parameters():
                weight.uniform_(-bound, bound)


def masked(values: Tensor, mask: Tensor | None) -> Tensor:
    """What dropout leaves of `values`."""
    return values if mask is None else values * mask
