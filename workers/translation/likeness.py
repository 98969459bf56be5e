"""How alike images are: the ratio of the peak to the error, and the structural similarity."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LEAST = 1e-10  # mean squared error of equal images: 100 dB
WINDOW = 7  # pixels, or what fits
STABLE = (0.01**2, 0.03**2)  # Wang et al. 2004, K1 and K2, for intensities from 0 to 1


def decibels(error: float) -> float:
    """The peak signal-to-noise ratio of a mean squared error of intensities from 0 to 1."""
    return -10 * math.log10(max(error, LEAST))


def similarity(found: Tensor, right: Tensor) -> Tensor:
    """The structural similarity of each image of intensities (Wang et al., "Image Quality Assessment", IEEE TIP 2004).

    Means, variances and covariances are those of the pixels in square windows, of every place where one fits.
    """
    side = min(WINDOW, *found.shape[2:])
    side -= 1 - side % 2

    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, side, stride=1)

    first, second = mean(found), mean(right)
    ours, theirs = (mean(one.square()) - middle.square() for one, middle in ((found, first), (right, second)))
    together = mean(found * right) - first * second
    above = (2 * first * second + STABLE[0]) * (2 * together + STABLE[1])
    below = (first.square() + second.square() + STABLE[0]) * (ours + theirs + STABLE[1])
    return torch.div(above, below).flatten(1).mean(dim=1)
