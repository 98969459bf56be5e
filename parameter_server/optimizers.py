"""SGD, Adam: what a store does with a gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.floating[Any]]


class Optimizer(ABC):
    """A rule for one step downhill; what it remembers of a tensor are arrays by name, its slots."""

    @abstractmethod
    def slots(self, tensor: Array) -> dict[str, Array]:
        """What is remembered of a tensor that had no gradient yet."""

    @abstractmethod
    def step(self, tensor: Array, gradient: Array, slots: dict[str, Array]) -> Array:
        """The tensor after one step, as a new array; `slots` are updated in place."""


@final
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, without momentum."""

    learning_rate: float

    def slots(self, tensor: Array) -> dict[str, Array]:
        return {}

    def step(self, tensor: Array, gradient: Array, slots: dict[str, Array]) -> Array:
        return tensor - self.learning_rate * gradient


@final
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with both moments corrected for their start (Kingma & Ba, ICLR 2015): https://arxiv.org/abs/1412.6980."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def slots(self, tensor: Array) -> dict[str, Array]:
        import numpy as np

        return {"mean": np.zeros_like(tensor), "square": np.zeros_like(tensor), "steps": np.zeros(())}

    def step(self, tensor: Array, gradient: Array, slots: dict[str, Array]) -> Array:
        import numpy as np

        mean, square, steps = slots["mean"], slots["square"], slots["steps"]
        steps += 1
        mean *= self.beta1
        mean += (1 - self.beta1) * gradient
        square *= self.beta2
        square += (1 - self.beta2) * np.square(gradient)
        moved = np.sqrt(square)
        moved /= float(1 - self.beta2**steps) ** 0.5
        moved += self.epsilon
        np.divide(mean, moved, out=moved)
        moved *= -self.learning_rate / float(1 - self.beta1**steps)
        moved += tensor
        return moved
