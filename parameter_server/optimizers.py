"""SGD, momentum, AdaGrad, RMSProp, Adam, and the plain sum: what a store does with a gradient."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, final

import numpy as np

from parameter_server.shards.kernels import add_product
from parameter_server.store import StoreError

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

    def __post_init__(self) -> None:
        _check(self, learning_rate=(0, math.inf))

    def step(self, now: Buffers, out: Buffers, gradient: Array, count: int, scale: float = 1.0) -> None:
        add_product(out[0], now[0], -self.learning_rate * scale, gradient)


@final
@dataclass(frozen=True)
class Momentum(Optimizer):
    """SGD along a velocity, the gradients so far, each `momentum` times as heavy as the next; as `torch.optim.SGD`."""

    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    learning_rate: float
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check(self, learning_rate=(0, math.inf), momentum=(0, 1))

    def step(self, now: Buffers, out: Buffers, gradient: Array, count: int, scale: float = 1.0) -> None:
        moved, velocity = out
        np.multiply(now[1], self.momentum, out=velocity)
        np.add(velocity, gradient, out=velocity)
        if self.nesterov:
            np.multiply(velocity, self.momentum, out=moved)
            np.add(moved, gradient, out=moved)
            np.multiply(moved, -self.learning_rate * scale, out=moved)
        else:
            np.multiply(velocity, -self.learning_rate * scale, out=moved)
        np.add(moved, now[0], out=moved)


@final
@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """Steps that shrink where gradients were (Duchi et al., JMLR 2011): https://jmlr.org/papers/v12/duchi11a.html.

    `initial` is what the sum of squares is before the first step.
    """

    slots: ClassVar[tuple[str, ...]] = ("squares",)

    learning_rate: float
    initial: float = 0.0
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        _check(self, learning_rate=(0, math.inf), initial=(0, math.inf), epsilon=(0, math.inf))

    @property
    def start(self) -> float:
        return self.initial

    def step(self, now: Buffers, out: Buffers, gradient: Array, count: int, scale: float = 1.0) -> None:
        moved, squares = out
        np.square(gradient, out=squares)
        np.add(squares, now[1], out=squares)
        _divided(gradient, squares, self.epsilon, moved)
        np.multiply(moved, -self.learning_rate * scale, out=moved)
        np.add(moved, now[0], out=moved)


@final
@dataclass(frozen=True)
class RMSProp(Optimizer):
    """Gradients divided by the root of a running mean of their squares; as `torch.optim.RMSprop`.

    Hinton, Neural Networks for Machine Learning, lecture 6:
    https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf.
    """

    slots: ClassVar[tuple[str, ...]] = ("square",)

    learning_rate: float
    decay: float = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check(self, learning_rate=(0, math.inf), decay=(0, 1), epsilon=(0, math.inf))

    def step(self, now: Buffers, out: Buffers, gradient: Array, count: int, scale: float = 1.0) -> None:
        moved, square = out
        _mean_square(now[1], gradient, self.decay, square, moved)
        _divided(gradient, square, self.epsilon, moved)
        np.multiply(moved, -self.learning_rate * scale, out=moved)
        np.add(moved, now[0], out=moved)


@final
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with both moments corrected for their start (Kingma & Ba, ICLR 2015): https://arxiv.org/abs/1412.6980."""

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check(self, learning_rate=(0, math.inf), beta1=(0, 1), beta2=(0, 1), epsilon=(0, math.inf))

    def step(self, now: Buffers, out: Buffers, gradient: Array, count: int, scale: float = 1.0) -> None:
        moved, mean, square = out
        np.multiply(now[1], self.beta1, out=mean)
        np.multiply(gradient, 1 - self.beta1, out=moved)
        np.add(mean, moved, out=mean)
        _mean_square(now[2], gradient, self.beta2, square, moved)
        np.sqrt(square, out=moved)
        np.divide(moved, float(1 - self.beta2**count) ** 0.5, out=moved)
        np.add(moved, self.epsilon, out=moved)
        np.divide(mean, moved, out=moved)
        np.multiply(moved, -self.learning_rate * scale / (1 - self.beta1**count), out=moved)
        np.add(moved, now[0], out=moved)


@final
@dataclass(frozen=True)
class Sum(Optimizer):
    """Adds up what is pushed: a counter, or a sum of gradients with which clients step by themselves."""

    def step(self, now: Buffers, out: Buffers, gradient: Array, count: int, scale: float = 1.0) -> None:
        add_product(out[0], now[0], scale, gradient)


def _mean_square(now: Array, gradient: Array, decay: float, square: Array, spare: Array) -> None:
    """Write a running mean of squares to `square`."""
    np.multiply(now, decay, out=square)
    np.square(gradient, out=spare)
    np.multiply(spare, 1 - decay, out=spare)
    np.add(square, spare, out=square)


def _divided(gradient: Array, square: Array, epsilon: float, out: Array) -> None:
    """Write the gradient over the root of `square` to `out`."""
    np.sqrt(square, out=out)
    np.add(out, epsilon, out=out)
    np.divide(gradient, out, out=out)


def _check(optimizer: Optimizer, **limits: tuple[float, float]) -> None:
    for name, (low, high) in limits.items():
        value = getattr(optimizer, name)
        if not low <= value < high:
            rule = f"at least {low}, and finite" if high == math.inf else f"at least {low}, and below {high}"
            raise StoreError(f"{name} of {type(optimizer).__name__} is {value}, but must be {rule}")
