"""An LSTM layer (Hochreiter & Schmidhuber 1997): one step, a run over sequences, and the way back through it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]


def step(sums: Array, cell: Array) -> tuple[Array, Array, Array]:
    """From the gates' sums (n, 4 hidden), in torch's order (in, forget, cell, out), to gates, cell and hidden state."""
    width = cell.shape[1]
    scale, offset = _sigmoids(width, sums.dtype)
    gates = np.tanh(sums * scale)
    gates *= scale
    gates += offset
    i, f, g, o = (gates[:, k * width : (k + 1) * width] for k in range(4))
    cell = f * cell + i * g
    return gates, cell, o * np.tanh(cell)


def run(inputs: Array, weights: Array, bias: Array) -> Trace:
    """A layer that reads `inputs` (steps, n, inputs) from zero states; `weights` is (inputs + hidden, 4 hidden)."""
    length, count, width = inputs.shape
    # Of all steps in one product, for only what comes back from the state has to wait.
    sums = (inputs.reshape(-1, width) @ weights[:width] + bias).reshape(length, count, len(bias))
    recurrent = weights[width:]
    hidden = np.zeros((length + 1, count, len(recurrent)), inputs.dtype)
    cell, gates = np.zeros_like(hidden), np.empty_like(sums)
    for t in range(length):
        gates[t], cell[t + 1], hidden[t + 1] = step(sums[t] + hidden[t] @ recurrent, cell[t])
    return Trace(inputs, gates, cell, hidden)


@final
@dataclass(frozen=True, slots=True)
class Trace:
    """What a run read and made: `gates` (steps, n, 4 hidden), `cell` and `hidden` (1 + steps, n, hidden)."""

    inputs: Array
    gates: Array
    cell: Array
    hidden: Array

    @property
    def outputs(self) -> Array:
        """The states that came out, (steps, n, hidden)."""
        return self.hidden[1:]

    def back(self, d_outputs: Array, weights: Array) -> tuple[Array, Array, Array]:
        """From the derivatives by the outputs to those by the inputs, by `weights` and by the bias."""
        width = self.inputs.shape[2]
        gates, recurrent, squashed = self.gates, weights[width:], np.tanh(self.cell[1:])
        i, f, g, o = (gates[:, :, k * len(recurrent) : (k + 1) * len(recurrent)] for k in range(4))
        slope = np.concatenate((i - i**2, f - f**2, 1 - g**2, o - o**2), axis=2)
        outward = o * (1 - squashed**2)
        d_sums, back, d_cell = np.empty_like(gates), np.zeros_like(self.cell[0]), np.zeros_like(self.cell[0])
        for t in reversed(range(len(gates))):
            d_hidden = d_outputs[t] + back
            d_cell = d_cell + d_hidden * outward[t]
            parts = (d_cell * g[t], d_cell * self.cell[t], d_cell * i[t], d_hidden * squashed[t])
            d_sums[t] = np.concatenate(parts, axis=1) * slope[t]
            back, d_cell = d_sums[t] @ recurrent.T, d_cell * f[t]
        flat = d_sums.reshape(-1, d_sums.shape[2])
        read = np.concatenate((self.inputs, self.hidden[:-1]), axis=2).reshape(len(flat), len(weights))
        return (flat @ weights[:width].T).reshape(self.inputs.shape), read.T @ flat, flat.sum(axis=0)


@cache
def _sigmoids(width: int, dtype: np.dtype[np.floating[Any]]) -> tuple[Array, Array]:
    """Scale and offset of the gates: a sigmoid is tanh(x / 2) / 2 + 1 / 2, which cannot overflow."""
    scale, offset = np.full(4 * width, 0.5, dtype), np.full(4 * width, 0.5, dtype)
    scale[2 * width : 3 * width], offset[2 * width : 3 * width] = 1, 0
    return scale, offset
