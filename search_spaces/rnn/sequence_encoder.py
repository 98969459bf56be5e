"""SequenceEncoder: recurrent layers that read texts of different lengths, in one direction or in both."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.rnn.sequences import within


def layer_of(unit: str, inputs: int, hidden: int, bias: bool = True) -> nn.RNNBase:
    """One of torch's recurrent layers in one direction, the batch first."""
    kinds: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
    return kinds[unit](inputs, hidden, bias=bias, batch_first=True)


def pushed(states: Tensor, lengths: Tensor, back: bool = False) -> Tensor:
    """`states` (batch, length, size) with the padding of each text in front of it; `back` undoes that."""
    length = states.shape[1]
    places = torch.arange(length, device=states.device)
    free = (length - lengths)[:, None]
    origin = (places + free if back else places - free) % length
    return states.gather(1, origin[:, :, None].expand(-1, -1, states.shape[2]))


@final
class SequenceEncoder(nn.Module):
    """`layers` of units, each `hidden` wide: both directions together where it is `bidirectional`, half by half.

    Equals torch's layers on packed sequences, which can be exported neither by torch nor to ONNX. Here padding stands
    in front of a text and is zeros: what it reads is 0, and its layers have no bias, so that a state is 0 until the
    text begins. In the place of a bias they read a feature that is 1 inside a text.
    """

    def __init__(self, unit: str, sizes: tuple[int, int, int], bidirectional: bool, dropout: float) -> None:
        """`sizes` are those of the input and of a layer, and how many layers there are."""
        super().__init__()
        inputs, hidden, layers = sizes
        width = hidden // 2 if bidirectional else hidden
        first = [inputs] + [hidden] * (layers - 1)
        self.forwards = nn.ModuleList(layer_of(unit, size + 1, width, bias=False) for size in first)
        self.backwards = nn.ModuleList(
            layer_of(unit, size + 1, width, bias=False) for size in (first if bidirectional else ())
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """The last layer's outputs (batch, length, hidden), and the state that each layer ended with.

        A state is one tensor (batch, hidden), or two of LSTM. What stands at padding means nothing.
        """
        outputs, ends = embedded, []
        inside = within(lengths, embedded.shape[1])[:, :, None].to(embedded.dtype)
        for number, layer in enumerate(self.forwards):
            inputs = self.dropout(outputs) if number else outputs
            inputs = torch.cat((inputs, torch.ones_like(inside)), 2) * inside
            found, end = layer(pushed(inputs, lengths))
            outputs, states = pushed(found, lengths, back=True), _listed(end)
            if len(self.backwards):
                found, end = self.backwards[number](inputs.flip(1))
                outputs = torch.cat((outputs, found.flip(1)), 2)
                states = [torch.cat(both, 1) for both in zip(states, _listed(end), strict=True)]
            ends.append(tuple(states))
        return outputs, ends


def _listed(end: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    """What one of torch's layers says of its last state, without the dimension of layers."""
    return [one[0] for one in (end if isinstance(end, tuple) else (end,))]
