"""Stack: recurrent layers one above the other, in one direction or both, as a `StackPlan` has them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from search_spaces.rnn.connections import connection
from search_spaces.rnn.fused_layer import FUSED, FusedLayer
from search_spaces.rnn.layer_families import recurrent_layer
from search_spaces.rnn.peephole_layer import PeepholeLayer
from search_spaces.rnn.recurrent_layer import RecurrentLayer
from search_spaces.rnn.sequences import halved, turned
from search_spaces.rnn.stack_plan import StackPlan
from search_spaces.rnn.whole_texts import read_whole
from search_spaces.rnn.word_embedding import locked_dropout


@final
class Stack(nn.Module):
    """Vectors (batch, steps, features) -> outputs (batch, steps, `plan.outputs`), each text as if it were alone.

    The second direction begins at a text's last token: what `nn.utils.rnn.pack_padded_sequence` does, by reversal
    within each length, so that it can be exported. What stands behind a text's end in the outputs means nothing.
    `state_sizes` has the size of each state that the layers carry, the first layer's first.
    """

    def __init__(self, plan: StackPlan) -> None:
        super().__init__()
        self.plan = plan
        self.forwards = nn.ModuleList(_layer(plan, number) for number in range(plan.layers))
        turned_too = range(plan.layers) if plan.bidirectional else ()
        self.backwards = nn.ModuleList(_layer(plan, number) for number in turned_too)
        joined = range(1, plan.layers) if plan.connection != "none" else ()
        self.connections = nn.ModuleList(connection(plan.connection, plan.inputs(n), plan.outputs) for n in joined)
        self.counts = [len(layer.state_sizes) for layer in self.forwards]  # type: ignore[arg-type]
        self.state_sizes = [size for layer in self.forwards for size in layer.state_sizes]  # type: ignore[union-attr]

    def forward(self, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and lengths of whole texts, both half as long behind each layer but the last where pyramidal."""
        for number in range(self.plan.layers):
            if number and self.plan.pyramidal:
                vectors, lengths = halved(vectors, lengths)
            vectors = self._dropped(vectors)
            outputs = read_whole(self.forwards[number], vectors)
            if self.plan.bidirectional:
                back = read_whole(self.backwards[number], turned(vectors, lengths))
                outputs = torch.cat([outputs, turned(back, lengths)], 2)
            vectors = self._connected(number, vectors, outputs)
        return self._dropped(vectors), lengths

    def carry(self, vectors: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Outputs of a piece of a text, in one direction, and each state (batch, size) behind it; zeros before it."""
        if len(state) not in (0, len(self.state_sizes)):
            raise ValueError(f"{len(state)} states were given, but these layers carry {len(self.state_sizes)}")
        behind: list[Tensor] = []
        for number, layer in enumerate(self.forwards):
            vectors = self._dropped(vectors)
            own, state = state[: self.counts[number]], state[self.counts[number] :]
            outputs, *after = layer(vectors, *own)
            vectors = self._connected(number, vectors, outputs)
            behind += after
        return self._dropped(vectors), *behind

    def _dropped(self, vectors: Tensor) -> Tensor:
        return locked_dropout(vectors, self.plan.dropout, self.training)

    def _connected(self, number: int, before: Tensor, behind: Tensor) -> Tensor:
        if not number or self.plan.connection == "none":
            return behind
        joined: Tensor = self.connections[number - 1](before, behind)
        return joined


def _layer(plan: StackPlan, number: int) -> RecurrentLayer | FusedLayer:
    """A layer of `plan`, counted from 0, in one direction."""
    inputs = plan.inputs(number)
    if plan.unit in FUSED:
        return FusedLayer(plan.unit, inputs, plan.hidden)
    if plan.unit == "peephole_lstm":
        return PeepholeLayer(inputs, plan.hidden)
    return recurrent_layer(plan.cell, inputs, plan.hidden)
