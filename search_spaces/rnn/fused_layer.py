"""FusedLayer: torch's own recurrent layers, which compute all steps in one kernel, as a layer of a stack."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

FUSED: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@final
class FusedLayer(nn.Module):
    """`unit` is `rnn` (tanh), `lstm` or `gru`; inputs, state and outputs as a `RecurrentLayer` has them.

    The state of an LSTM is what it gives and what it remembers, each (batch, `hidden`).
    """

    def __init__(self, unit: str, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.state_sizes = [hidden] * (2 if unit == "lstm" else 1)
        self.layer = FUSED[unit](inputs, hidden, batch_first=True)

    def forward(self, inputs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        if not state:
            state = tuple(inputs.new_zeros(inputs.shape[0], size) for size in self.state_sizes)
        if len(state) == 1:
            outputs, last = self.layer(inputs, state[0].unsqueeze(0))
            return outputs, last.squeeze(0)
        outputs, (given, memory) = self.layer(inputs, (state[0].unsqueeze(0), state[1].unsqueeze(0)))
        return outputs, given.squeeze(0), memory.squeeze(0)
