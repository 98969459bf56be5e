"""How much is to be hoped for from a trial: expected improvement, and the chance that it is feasible."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAR = -5.0  # standard deviations below the best, from where on the asymptotic series is used


def log_expected_improvement(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], best: float
) -> NDArray[np.float64]:
    """The logarithm of E[max(0, f - best)] for normal f, exact to 1e-3 however far `best` is (Ament et al. 2023)."""
    from scipy.special import ndtr

    away = (mean - best) / deviation
    near = np.maximum(away, _FAR)
    density = np.exp(-0.5 * near * near) / math.sqrt(2.0 * math.pi)
    exact = np.log(density + near * ndtr(near))
    far = np.minimum(away, _FAR)
    series = -0.5 * far * far - 0.5 * math.log(2.0 * math.pi) - 2.0 * np.log(-far)
    series += np.log1p(-3.0 / far**2 + 15.0 / far**4)
    return np.asarray(np.where(away > _FAR, exact, series) + np.log(deviation))


def log_feasibility(mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of the chance to be feasible, from a regression of +1 (feasible) and -1."""
    from scipy.special import log_ndtr

    return np.asarray(log_ndtr(mean / deviation))
