"""GaussianProcess: a regression that knows how sure it is (Rasmussen & Williams 2006)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from nas.surrogates.kernel import Gram, Kernel

if TYPE_CHECKING:
    from nas.surrogates.codes import Rows
    from nas.surrogates.kernel import Matrix

_NOISE, _NOISE_SPREAD = math.log(1e-2), 1.5  # the logarithm of the noise's variance, as a share of the signal's
_LEAST = 1e-6  # of noise
_DEGREES = 2.0  # of the inverse gamma prior of the signal's variance, whose mode is near 1
_NOISES = (-12.0, 4.0)  # bounds of its logarithm


@final
class GaussianProcess:
    """Parameters are the noise's logarithm, then the kernel's; the signal's variance and the mean follow from them.

    Fitted by their largest posterior density under log-normal priors, which need no restarts: the priors are
    narrow enough for the start, their mode, to lie in the right valley.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.start = np.concatenate([[_NOISE], kernel.start])
        self._spread = np.concatenate([[_NOISE_SPREAD], kernel.spread])

    def fitted(self, rows: Rows, targets: Matrix, steps: int = 30) -> Matrix:
        """The parameters that explain the targets best, always found from the same start."""
        from scipy.optimize import minimize

        gram = Gram(self.kernel, rows)
        found = minimize(
            lambda parameters: self.loss(parameters, gram, targets),
            self.start,
            jac=True,
            method="L-BFGS-B",
            bounds=[_NOISES, *self.kernel.bounds],
            options={"maxiter": steps, "maxfun": steps + steps // 4},
        )
        return np.asarray(found.x if np.isfinite(found.x).all() else self.start)

    def loss(self, parameters: Matrix, gram: Gram, targets: Matrix) -> tuple[float, Matrix]:
        """The negative logarithm of the posterior density, but for a constant, and its gradient."""
        from scipy.linalg import LinAlgError, cho_solve, cholesky

        count = len(targets)
        matrix, computed = gram.matrix(parameters[1:])
        noise = _noise(parameters)
        covariance = matrix + noise * np.eye(count)
        try:
            factor = cholesky(covariance, lower=True, check_finite=False)
        except LinAlgError:
            return 1e10, np.zeros_like(parameters)
        inverse = cho_solve((factor, True), np.eye(count), check_finite=False)
        mean, residual = _centred(inverse.sum(axis=1), targets)
        weights = inverse @ residual
        variance = (residual @ weights + mean * mean + _DEGREES) / (count + _DEGREES)
        away = (parameters - self.start) / self._spread
        value = 0.5 * (count + _DEGREES) * math.log(variance) + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        above = 0.5 * (inverse - np.outer(weights, weights) / variance)
        gradient = np.concatenate(
            [[(noise - _LEAST) * np.trace(above)], gram.gradient(parameters[1:], above, computed)]
        )
        return float(value), gradient + away / self._spread

    def posterior(self, parameters: Matrix, rows: Rows, targets: Matrix) -> Posterior:
        """What is believed after seeing `targets`."""
        from scipy.linalg import cho_solve, cholesky, solve_triangular

        count = len(targets)
        covariance = self.kernel.between(parameters[1:], rows, rows) + _noise(parameters) * np.eye(count)
        factor = cholesky(covariance, lower=True, check_finite=False)
        ones = cho_solve((factor, True), np.ones(count), check_finite=False)
        mean, residual = _centred(ones, targets)
        weights = cho_solve((factor, True), residual, check_finite=False)
        variance = (residual @ weights + mean * mean + _DEGREES) / (count + _DEGREES)
        root = solve_triangular(factor, np.eye(count), lower=True, check_finite=False)
        return Posterior(self.kernel, parameters, rows, mean, weights, root, float(variance))


@final
@dataclass(frozen=True, eq=False)
class Posterior:
    """What a Gaussian process believes of any row; `root` is the inverse of the covariance's Cholesky factor."""

    kernel: Kernel
    parameters: Matrix
    rows: Rows
    mean: float
    weights: Matrix
    root: Matrix
    variance: float

    @property
    def noise(self) -> float:
        """The standard deviation of what is seen around the noiseless value."""
        return math.sqrt(self.variance * self.noise_share)

    @property
    def noise_share(self) -> float:
        """The noise's variance as a share of the signal's."""
        return _noise(self.parameters)

    def between(self, rows: Rows, others: Rows) -> Matrix:
        """The covariance of the values of two sets of rows before anything was seen, as a share of the variance."""
        return self.kernel.between(self.parameters[1:], rows, others)

    def expected(self, rows: Rows) -> Matrix:
        """The mean of each row, in a third of the time of `predict`."""
        return np.asarray(self.mean + self.between(rows, self.rows) @ self.weights)

    def predict(self, rows: Rows) -> tuple[Matrix, Matrix]:
        """Mean and standard deviation of the noiseless value of each row."""
        cross = self.between(rows, self.rows)
        explained = cross @ self.root.T
        left = np.maximum(1.0 - np.einsum("ij,ij->i", explained, explained), 1e-9)
        return self.mean + cross @ self.weights, np.sqrt(self.variance * left)

    def joint(self, rows: Rows) -> tuple[Matrix, Matrix, Matrix]:
        """The mean of each row; variance of each and covariance of all, as shares of the signal's variance."""
        cross = self.between(rows, self.rows)
        explained = cross @ self.root.T
        covariance = self.between(rows, rows) - explained @ explained.T
        return self.mean + cross @ self.weights, np.diag(covariance).copy(), covariance


def _noise(parameters: Matrix) -> float:
    """The noise's variance as a share of the signal's."""
    return math.exp(float(parameters[0])) + _LEAST


def _centred(ones: Matrix, targets: Matrix) -> tuple[float, Matrix]:
    """The mean under a standard normal prior (in units of the signal) and what is left of the targets.

    `ones` is the inverse covariance times a vector of ones.
    """
    mean = float(ones @ targets / (ones.sum() + 1.0))
    return mean, targets - mean
