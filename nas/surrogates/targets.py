"""Targets: gains on scales that a Gaussian process can believe in, whatever unit and tails they have.

Both views increase in the gains, are equal where these are, and know neither their unit nor their origin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOP = 0.2  # the least share of the distance from median to best that counts as one


def normal_scores(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """The normal quantile of each one's rank, the mean rank for equal ones: no outlier moves it."""
    from scipy.special import ndtri

    _, places, counts = np.unique(gains, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - 0.5 * counts
    return np.asarray(ndtri(ranks[places.reshape(-1)] / max(1, len(gains))))


def distances(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances from the median in units of the upper half, then with mean 0 and variance 1; logarithmic below.

    They keep what is known of the best, which ranks forget.
    """
    if not len(gains) or not np.abs(gains).max() > 0.0:
        return np.zeros(len(gains))
    gains = gains / np.abs(gains).max()  # so that no difference overflows
    middle, high, best = np.median(gains), np.quantile(gains, 0.9), gains.max()
    unit = max(high - middle, _TOP * (best - middle))
    if not unit > 0.0:
        unit = max(middle - gains.min(), np.finfo(float).tiny)
    above, below = np.maximum(gains - middle, 0.0) / unit, np.maximum(middle - gains, 0.0)
    away = above - (np.log(below + unit) - np.log(unit))  # where unit is tiny, below / unit would overflow
    away -= away.mean()
    return np.asarray(away / max(away.std(), 1e-12))
