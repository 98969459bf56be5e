"""Nearest neighbours among features: precision and recall of generated images, and what they were copied from."""

from __future__ import annotations

import torch
from torch import Tensor

AT_ONCE = 1000


def distances(rows: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances (rows, others), exact differences in 32 bits."""
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


def radii(features: Tensor, nearest: int) -> Tensor:
    """How far the `nearest`-th neighbour of each row is among the others."""
    return torch.cat(
        [distances(some, features).kthvalue(nearest + 1).values for some in torch.split(features, AT_ONCE)]
    )


def covered(features: Tensor, manifold: Tensor, nearest: int) -> float:
    """The share of `features` within the reach of any row of `manifold`, which is its `nearest`-th neighbour's."""
    reach = radii(manifold, nearest)
    inside = [(distances(some, manifold) <= reach).any(1) for some in torch.split(features, AT_ONCE)]
    return float(torch.cat(inside).double().mean())


def precision_and_recall(real: Tensor, fake: Tensor, nearest: int = 3) -> tuple[float, float]:
    """The shares of generated images among the real ones, and of real among the generated ones.

    Kynkäänniemi et al., NeurIPS 2019, equations 1 to 3, with their `nearest` of 3, or fewer where there are no more.
    """
    nearest = min(nearest, len(real) - 1, len(fake) - 1)
    return covered(fake, real, nearest), covered(real, fake, nearest)


def nearest_rows(features: Tensor, others: Tensor, count: int) -> Tensor:
    """The places (rows, count) of the `count` rows of `others` that are nearest, the nearest first."""
    return distances(features, others).topk(count, largest=False).indices
