"""Kernel: how alike candidates are, decision by decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np

from nas.surrogates.codes import INACTIVE, Codes, Column
from search_spaces.decision import Choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nas.surrogates.codes import Rows

    Matrix: TypeAlias = NDArray[np.float64]

_WEIGHT = 3.0  # what the weights of all parts come to before anything is known
_LENGTH = 0.6  # of a number, as a share of its range
_SUM = 1.0  # how much the sum counts beside the product
_WEIGHTS = (-10.0, 3.0)  # bounds of the logarithms: no factor becomes 0, none is spoilt by rounding
_LENGTHS = (-4.0, 4.0)
_SUMS = (-6.0, 4.0)
_TABLED = 32  # values of a decision whose kernel is computed once for each


@final
class Kernel:
    """A product over parts of c + (1 - c) m with c = exp(-weight), and beside it the sum of weight m.

    A part is a decision, or a tally: how often each option was taken in decisions that share their options, such
    as the operations of a cell. m says whether two categories are equal, or is the Matern kernel (5/2) of the
    distance of two numbers or tallies; a decision that is not active is a value of its own. The product is what all
    sets of parts do together (Gunn & Kandola 2002), the sum what each does alone: that much is known after few trials.

    `vectors` are further columns of the rows that are compared together, group by group, as tallies are.

    Parameters are logarithms: of the weights of categories, numbers and tallies, of the lengths of numbers and
    tallies, and of the sum's share beside the product's.
    """

    def __init__(self, codes: Codes, vectors: Sequence[NDArray[np.int64]] = ()) -> None:
        lone = [p for p in codes.conditional if not codes.movable[p]]  # these say only whether they are active
        self.categories = np.sort([*np.flatnonzero(codes.categorical & codes.movable), *lone]).astype(np.int64)
        self.numbers = np.flatnonzero(~codes.categorical & codes.movable)
        self.tallies = codes.alike
        self.vectors = tuple(vectors)
        together = len(self.tallies) + len(self.vectors)
        self._places = [*self.categories.tolist(), *self.numbers.tolist()]
        self._levels = [_levels(codes.columns[place]) for place in self._places] + [0] * together
        first, second = len(self.categories), len(self.numbers) + together
        self.count = first + second
        weight = math.log(_WEIGHT / max(4, self.count))
        self.start = np.array([weight] * self.count + [math.log(_LENGTH)] * second + [math.log(_SUM)])
        self.spread = np.array([1.0] * self.count + [0.8] * second + [1.5])
        self.bounds = [_WEIGHTS] * self.count + [_LENGTHS] * second + [_SUMS]

    def split(self, parameters: Matrix) -> tuple[Matrix, Matrix, Matrix, float]:
        """The weights of categories, those of numbers and tallies, the lengths of these, and the sum's share."""
        values = np.exp(parameters)
        first = len(self.categories)
        return values[:first], values[first : self.count], values[self.count : -1], float(values[-1])

    @property
    def effort(self) -> float:
        """What an entry costs, in numbers that are not in a table."""
        return self._levels.count(0) + sum(self._levels) / 40.0

    def between(self, parameters: Matrix, rows: Rows, others: Rows) -> Matrix:
        """The kernel of every row with every other one."""
        weights, relevance, lengths, share = self.split(parameters)
        scales = np.concatenate([np.ones(len(weights)), lengths])
        total, product = self._tabled(np.concatenate([weights, relevance]), scales, rows, others)
        for part, (weight, length) in enumerate(zip([*weights, *relevance], scales, strict=True)):
            if self._levels[part]:
                continue
            likeness = self._likeness(part, float(length), rows, others)
            total += weight * likeness
            floor = math.exp(-weight)
            likeness *= 1.0 - floor
            likeness += floor
            product *= likeness
        if self.count:
            total *= share / (weights.sum() + relevance.sum())
            product += total
            product /= 1.0 + share
        return np.asarray(product)

    def _tabled(self, weights: Matrix, scales: Matrix, rows: Rows, others: Rows) -> tuple[Matrix, Matrix]:
        """Sum and product over the decisions of few values, of which every row has one: two products of matrices."""
        parts = [part for part, levels in enumerate(self._levels) if levels]
        hot: Matrix = np.zeros((len(rows), sum(self._levels) + len(parts)))
        sums, logs = np.zeros((hot.shape[1], len(others))), np.zeros((hot.shape[1], len(others)))
        offset = 0
        for part in parts:
            levels, place = self._levels[part], self._places[part]
            last = levels - 1 if part >= len(self.categories) else 1
            codes = np.rint(rows[:, place] * last).astype(np.int64)
            hot[np.arange(len(rows)), offset + np.where(rows[:, place] == INACTIVE, levels, codes)] = 1.0
            every = np.full((levels + 1, rows.shape[1]), INACTIVE)
            every[:levels, place] = np.arange(levels) / last
            likeness = self._likeness(part, float(scales[part]), every, others)
            block = slice(offset, offset + levels + 1)
            sums[block] = weights[part] * likeness
            floor = math.exp(-weights[part])
            logs[block] = np.log(floor + (1.0 - floor) * likeness)
            offset += levels + 1
        return hot @ sums, np.exp(hot @ logs)

    def _likeness(self, part: int, length: float, rows: Rows, others: Rows) -> Matrix:
        """How alike rows are in one part, from 0 to 1."""
        if part >= len(self._places):
            return _matern(self.apart(part - len(self._places), rows, others) / length)
        place = self._places[part]
        if part < len(self.categories):
            return np.asarray(rows[:, place, None] == others[None, :, place], dtype=np.float64)
        matern = _matern(np.abs(rows[:, place, None] - others[None, :, place]) / length)
        here, there = rows[:, place] == INACTIVE, others[:, place] == INACTIVE
        if here.any() or there.any():
            matern[here[:, None] != there[None, :]] = 0.0
        return matern

    def apart(self, tally: int, rows: Rows, others: Rows) -> Matrix:
        """The distance of two tallies, the counts being divided by how many decisions are counted, or of vectors."""
        one, other = self._counts(tally, rows), self._counts(tally, others)
        squares = (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1)[None] - 2.0 * one @ other.T
        return np.asarray(np.sqrt(np.maximum(squares, 0.0)))

    def _counts(self, tally: int, rows: Rows) -> Matrix:
        if tally >= len(self.tallies):
            return rows[:, self.vectors[tally - len(self.tallies)]]
        places, options = self.tallies[tally]
        chosen = rows[:, places]
        return np.stack([(chosen == option).sum(axis=1) for option in range(options)], axis=1) / len(places)


@final
class Gram:
    """The kernel among fixed rows, for any parameters, with its gradient."""

    def __init__(self, kernel: Kernel, rows: Rows) -> None:
        self.kernel = kernel
        categories, numbers = rows[:, kernel.categories].T, rows[:, kernel.numbers].T
        self.equal = (categories[:, :, None] == categories[:, None, :]).astype(np.float64)
        tallies = [kernel.apart(tally, rows, rows)[None] for tally in range(len(kernel.tallies) + len(kernel.vectors))]
        self.distances = np.concatenate([np.abs(numbers[:, :, None] - numbers[:, None, :]), *tallies])
        active = numbers != INACTIVE
        self.mixed = active[:, :, None] != active[:, None, :]

    def matrix(self, parameters: Matrix) -> tuple[Matrix, Computed]:
        """The kernel, and what `gradient` needs to know of it."""
        weights, relevance, lengths, share = self.kernel.split(parameters)
        total = np.tensordot(weights, self.equal, axes=1)
        product = np.exp(total - weights.sum())
        scaled = math.sqrt(5.0) * self.distances / lengths[:, None, None]
        decay = np.exp(-scaled)
        matern = (1.0 + scaled + scaled * scaled / 3.0) * decay
        slope = scaled * scaled * (1.0 + scaled) / 3.0 * decay
        if self.mixed.any():
            matern[: len(self.mixed)][self.mixed] = slope[: len(self.mixed)][self.mixed] = 0.0
        floor = np.exp(-relevance)[:, None, None]
        factors = floor + (1.0 - floor) * matern
        if len(factors):
            product = product * factors.prod(axis=0)
            total = total + np.tensordot(relevance, matern, axes=1)
        if not self.kernel.count:
            return product, (product, product, factors, matern, slope)
        total = total / (weights.sum() + relevance.sum())
        return (product + share * total) / (1.0 + share), (product, total, factors, matern, slope)

    def gradient(self, parameters: Matrix, above: Matrix, computed: Computed) -> Matrix:
        """The derivatives by the parameters of a function whose derivatives by the kernel's entries are `above`."""
        product, total, factors, matern, slope = computed
        weights, relevance, _, share = self.kernel.split(parameters)
        by_product = above * product / (1.0 + share)
        by_total = above * (share / (1.0 + share) / max(1e-300, weights.sum() + relevance.sum()))
        drift = (by_total * total).sum()
        category = np.einsum("dij,ij->d", self.equal, by_product + by_total) - by_product.sum() - drift
        floor = np.exp(-relevance)
        shares = by_product[None] / factors
        number = relevance * floor * (np.einsum("dij,dij->d", shares, matern) - shares.sum(axis=(1, 2)))
        number -= relevance * (drift - np.einsum("dij,ij->d", matern, by_total))
        length = (1.0 - floor) * np.einsum("dij,dij->d", shares, slope)
        length += relevance * np.einsum("dij,ij->d", slope, by_total)
        sums = share / (1.0 + share) ** 2 * (above * (total - product)).sum()
        return np.concatenate([weights * category, number, length, [sums]])


if TYPE_CHECKING:
    Computed: TypeAlias = tuple[Matrix, Matrix, Matrix, Matrix, Matrix]


def _levels(column: Column) -> int:
    """How many values a decision has that lie evenly, 0 where they do not or are too many for a table."""
    even = column.categorical or isinstance(column.decision, Choice) or not column.decision.log
    return int(column.steps) if even and column.steps <= _TABLED else 0


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
