"""What a surrogate is trained by: the distance to the scores, or only their order. All in nats or score units."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def l1(predicted: Tensor, scores: Tensor) -> Tensor:
    """Mean absolute error, the loss that was published with PNAS; (..., n) and (..., n) give (...)."""
    return (predicted - scores).abs().mean(-1)


def list_mle(predicted: Tensor, scores: Tensor) -> Tensor:
    """How surprising the true order is under Plackett-Luce, per item (Xia et al., ICML 2008); (..., n) give (...).

    The probability of an order is that of drawing its items one after the other, each with probability proportional
    to exp(predicted) among those left. Ties keep the order in which they stand.
    """
    order = scores.argsort(dim=-1, descending=True, stable=True)
    ranked = predicted.gather(-1, order)
    left = ranked.flip(-1).logcumsumexp(-1).flip(-1)
    return (left - ranked).mean(-1)


def pairwise_hinge(predicted: Tensor, scores: Tensor, margin: float = 0.1) -> Tensor:
    """Mean over the pairs with different scores of how far they are from being `margin` apart; (..., n) give (...)."""
    better = (scores.unsqueeze(-1) > scores.unsqueeze(-2)).to(predicted.dtype)
    gap = torch.relu(margin - (predicted.unsqueeze(-1) - predicted.unsqueeze(-2)))
    return (gap * better).sum((-2, -1)) / better.sum((-2, -1)).clamp(min=1.0)


LOSSES: dict[str, Loss] = {"l1": l1, "list_mle": list_mle, "pairwise_hinge": pairwise_hinge}
