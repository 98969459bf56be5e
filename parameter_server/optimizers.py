"""SGD, Adam: what a store does with a gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.floating[Any]]
    Buffers: TypeAlias = tuple[Array, ...]


class Optimizer(ABC):
    """A rule for one step downhill, element by element, so that any stretch of a tensor can be stepped alone.

    `slots` are the names of what it remembers: arrays like the tensor, which are `start` before the first step.
    """

    slots: ClassVar[tuple[str, ...]] = ()

    @property
    def start(self) -> float:
        return 0.0

    @abstractmethod
    def step(self, now: Buffers, out: Buffers, gradient: Array, count: int, scale: float = 1.0) -> None:
        """Write to `out` what `now` becomes: values first, then the slots in order, all of one shape, none overlapping.

        This is step `count` of the tensor, from 1; `scale` multiplies the learning rate.
        """


@final
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, without momentum."""

    learning_rate: float

    def step(self, now: Buffers, out: Buffers, gradient: Array, count: int, scale: float = 1.0) -> None:
        np.multiply(gradient, -self.learning_rate * scale, out=out[0])
        np.add(out[0], now[0], out=out[0])


@final
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with both moments corrected for their start (Kingma & Ba, ICLR 2015): https://arxiv.org/abs/1412.6980."""

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def step(self, now: Buffers, out: Buffers, gradient: Array, count: int, scale: float = 1.0) -> None:
        moved, mean, square = out
        np.multiply(now[1], self.beta1, out=mean)
        np.multiply(gradient, 1 - self.beta1, out=moved)
        np.add(mean, moved, out=mean)
        np.multiply(now[2], self.beta2, out=square)
        np.square(gradient, out=moved)
        np.multiply(moved, 1 - self.beta2, out=moved)
        np.add(square, moved, out=square)
        np.sqrt(square, out=moved)
        np.divide(moved, float(1 - self.beta2**count) ** 0.5, out=moved)
        np.add(moved, self.epsilon, out=moved)
        np.divide(mean, moved, out=moved)
        np.multiply(moved, -self.learning_rate * scale / (1 - self.beta1**count), out=moved)
        np.add(moved, now[0], out=moved)
