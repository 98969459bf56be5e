"""SequenceEncoder: recurrent layers that read texts of different lengths, in one direction or in both."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.rnn.sequences import step_of, turned


def layer_of(unit: str, inputs: int, hidden: int) -> nn.RNNBase:
    """One of torch's recurrent layers in one direction, the batch first."""
    kinds: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
    return kinds[unit](inputs, hidden, batch_first=True)


@final
class SequenceEncoder(nn.Module):
    """`layers` of units, each `hidden` wide: both directions together where it is `bidirectional`, half by half.

    Equals torch's bidirectional layers on packed sequences; the direction that reads backwards is given each text
    turned round instead, since packed sequences can be exported neither by torch nor to ONNX.
    """

    def __init__(self, unit: str, sizes: tuple[int, int, int], bidirectional: bool, dropout: float) -> None:
        """`sizes` are those of the input and of a layer, and how many layers there are."""
        super().__init__()
        inputs, hidden, layers = sizes
        width = hidden // 2 if bidirectional else hidden
        first = [inputs] + [hidden] * (layers - 1)
        self.forwards = nn.ModuleList(layer_of(unit, size, width) for size in first)
        self.backwards = nn.ModuleList(layer_of(unit, size, width) for size in (first if bidirectional else ()))
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The last layer's outputs (batch, length, hidden), and of each layer what it ended with (batch, hidden)."""
        outputs, ends = embedded, []
        for number, layer in enumerate(self.forwards):
            inputs = self.dropout(outputs) if number else outputs
            outputs = layer(inputs)[0]
            ends.append(step_of(outputs, lengths - 1))
            if len(self.backwards):
                back = self.backwards[number](turned(inputs, lengths))[0]
                ends[-1] = torch.cat((ends[-1], step_of(back, lengths - 1)), 1)
                outputs = torch.cat((outputs, turned(back, lengths)), 2)
        return outputs, ends
