"""Kernel: how alike candidates are, decision by decision, multiplied."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np

from nas.surrogates.codes import INACTIVE, Codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nas.surrogates.codes import Rows

    Matrix: TypeAlias = NDArray[np.float64]

_WEIGHT = 3.0  # what the weights of all decisions come to before anything is known
_LENGTH = 0.6  # of a number, as a share of its range
_WEIGHTS = (-10.0, 3.0)  # bounds of the logarithms: no factor becomes 0, none is spoilt by rounding
_LENGTHS = (-4.0, 4.0)


@final
class Kernel:
    """A product over decisions d of c_d + (1 - c_d) m_d, where c_d = exp(-weight_d).

    m_d says whether two categories are equal, or is the Matern kernel (5/2) of the distance of two numbers; a decision
    that is not active is a value of its own. The product is the sum over all sets of decisions of what they do
    together (an ANOVA kernel: Gunn & Kandola 2002), each decision counting as much as the data say: with weight 0 it
    does not matter.

    Parameters are the logarithms of the weights, then of the numbers' lengths.
    """

    def __init__(self, codes: Codes) -> None:
        self.categories = np.flatnonzero(codes.categorical & codes.movable)
        self.numbers = np.flatnonzero(~codes.categorical & codes.movable)
        fixed = {column.decision.when is not None for column in codes.columns}
        if True in fixed:  # a decision without a choice still says whether it is active
            lone = [p for p in codes.conditional if not codes.movable[p]]
            self.categories = np.sort(np.concatenate([self.categories, np.array(lone, dtype=np.int64)]))
        self._widths = [int(codes.columns[place].steps) + 1 for place in self.categories]
        count = len(self.categories) + len(self.numbers)
        start = math.log(_WEIGHT / max(4, count))
        self.start = np.array([start] * count + [math.log(_LENGTH)] * len(self.numbers))
        self.bounds = [_WEIGHTS] * count + [_LENGTHS] * len(self.numbers)
        self.spread = np.array([1.0] * count + [0.8] * len(self.numbers))

    def split(self, parameters: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """The weights of categories and of numbers, and the numbers' lengths."""
        values = np.exp(parameters)
        first = len(self.categories)
        second = first + len(self.numbers)
        return values[:first], values[first:second], values[second:]

    def between(self, parameters: Matrix, rows: Rows, others: Rows) -> Matrix:
        """The kernel of every row with every other one."""
        weights, relevance, lengths = self.split(parameters)
        one, other = self._hot(rows), self._hot(others)
        found = np.exp((one * np.repeat(weights, self._widths)) @ other.T - weights.sum())
        for place, weight, length in zip(self.numbers.tolist(), relevance.tolist(), lengths.tolist(), strict=True):
            floor = math.exp(-weight)
            alike = _alike(_matern(np.abs(rows[:, place, None] - others[None, :, place]) / length), rows, others, place)
            alike *= 1.0 - floor
            alike += floor
            found *= alike
        return np.asarray(found)

    def _hot(self, rows: Rows) -> Matrix:
        """One-hot columns of all categories, side by side, the last of each for what is not active."""
        found = np.zeros((len(rows), sum(self._widths)))
        offset = 0
        for place, width in zip(self.categories.tolist(), self._widths, strict=True):
            codes = rows[:, place].astype(np.int64)
            found[np.arange(len(rows)), offset + np.where(codes < 0, width - 1, codes)] = 1.0
            offset += width
        return found


@final
class Gram:
    """The kernel among fixed rows, for any parameters, with its gradient."""

    def __init__(self, kernel: Kernel, rows: Rows) -> None:
        self.kernel = kernel
        categories, numbers = rows[:, kernel.categories].T, rows[:, kernel.numbers].T
        self.unequal = (categories[:, :, None] != categories[:, None, :]).astype(np.float64)
        self.distances = np.abs(numbers[:, :, None] - numbers[:, None, :])
        active = numbers != INACTIVE
        self.mixed = active[:, :, None] != active[:, None, :]

    def matrix(self, parameters: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """The kernel, and what `gradient` needs: its factors and the derivatives of their parts by log length."""
        weights, relevance, lengths = self.kernel.split(parameters)
        matrix = np.exp(-np.tensordot(weights, self.unequal, axes=1))
        scaled = math.sqrt(5.0) * self.distances / lengths[:, None, None]
        decay = np.exp(-scaled)
        matern = (1.0 + scaled + scaled * scaled / 3.0) * decay
        slope = scaled * scaled * (1.0 + scaled) / 3.0 * decay
        if self.mixed.any():
            matern[self.mixed] = slope[self.mixed] = 0.0
        floor = np.exp(-relevance)[:, None, None]
        factors = floor + (1.0 - floor) * matern
        if len(factors):
            matrix = matrix * factors.prod(axis=0)
        return matrix, factors, slope

    def gradient(self, parameters: Matrix, above: Matrix, computed: tuple[Matrix, Matrix, Matrix]) -> Matrix:
        """The derivatives by the parameters of a function whose derivatives by the kernel's entries are `above`."""
        matrix, factors, slope = computed
        weights, relevance, _ = self.kernel.split(parameters)
        product = above * matrix
        by_category = -weights * np.einsum("dij,ij->d", self.unequal, product)
        if not len(factors):
            return np.asarray(by_category)
        floor = np.exp(-relevance)
        shares = product[None] / factors
        # floor + (1 - floor) m, so 1 - m is (1 - factor) / (1 - floor)
        odds = relevance * floor / np.maximum(1.0 - floor, 1e-12)
        by_relevance = -odds * np.einsum("dij,dij->d", shares, 1.0 - factors)
        by_length = (1.0 - floor) * np.einsum("dij,dij->d", shares, slope)
        return np.concatenate([by_category, by_relevance, by_length])


def _matern(distances: Matrix) -> Matrix:
    """The Matern kernel of smoothness 5/2."""
    distances *= math.sqrt(5.0)
    polynomial = distances * (1.0 / 3.0)
    polynomial += 1.0
    polynomial *= distances
    polynomial += 1.0
    np.negative(distances, out=distances)
    np.exp(distances, out=distances)
    polynomial *= distances
    return polynomial


def _alike(matern: Matrix, rows: Rows, others: Rows, place: int) -> Matrix:
    """`matern`, and 0 where only one of the two is active (both inactive: their distance is 0)."""
    here, there = rows[:, place] == INACTIVE, others[:, place] == INACTIVE
    if here.any() or there.any():
        matern[here[:, None] != there[None, :]] = 0.0
    return matern
