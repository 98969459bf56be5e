"""One step of an LSTM layer (Hochreiter & Schmidhuber 1997), and the way back through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]


@final
@dataclass(frozen=True, slots=True)
class Step:
    """What one step read and made. `joined` is (n, inputs + hidden), all others (n, hidden)."""

    joined: Array
    gates: tuple[Array, Array, Array, Array]
    before: Array
    cell: Array
    squashed: Array
    hidden: Array

    def back(self, d_hidden: Array, d_cell: Array) -> tuple[Array, Array]:
        """From the derivatives by this step's states to those by its gates' sums, (n, 4 hidden), and by `before`."""
        i, f, g, o = self.gates
        d_cell = d_cell + d_hidden * o * (1 - self.squashed**2)
        sums = (
            d_cell * g * i * (1 - i),
            d_cell * self.before * f * (1 - f),
            d_cell * i * (1 - g**2),
            d_hidden * self.squashed * o * (1 - o),
        )
        return np.concatenate(sums, axis=1), d_cell * f


def step(inputs: Array, hidden: Array, cell: Array, weights: Array, bias: Array) -> Step:
    """One step for n rows: `weights` is (inputs + hidden, 4 hidden), gates in torch's order: in, forget, cell, out."""
    joined = np.concatenate((inputs, hidden), axis=1)
    sums = joined @ weights + bias
    width = hidden.shape[1]
    i = _sigmoid(sums[:, :width])
    f = _sigmoid(sums[:, width : 2 * width])
    g = np.tanh(sums[:, 2 * width : 3 * width])
    o = _sigmoid(sums[:, 3 * width :])
    new = f * cell + i * g
    squashed = np.tanh(new)
    return Step(joined, (i, f, g, o), cell, new, squashed, o * squashed)


def _sigmoid(x: Array) -> Array:
    half: Array = 0.5 * np.tanh(0.5 * x)  # which cannot overflow
    return half + 0.5
