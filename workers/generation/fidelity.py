"""FID and inception score of features and logits, through torchmetrics."""

from __future__ import annotations

import warnings
from typing import final

import torch
from torch import Tensor, nn

from workers.generation.metrics_library import image_metrics


@final
class Given(nn.Module):
    """Stands where torchmetrics has its own Inception: what comes in are features of `num_features` already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """The Fréchet inception distance (Heusel et al., NeurIPS 2017) of two sets of features (count, width), 64 bits.

    Biased upwards where there are few images: compare figures of equal counts only.
    """
    metric = image_metrics().fid.FrechetInceptionDistance(feature=Given(real.shape[1])).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    return max(0.0, float(metric.compute()))


def inception_score(logits: Tensor) -> float:
    """The inception score (Salimans et al., NeurIPS 2016) of logits (count, classes), all in one split."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):  # it shuffles by torch's own generator
        warnings.filterwarnings(
            "ignore", category=UserWarning
        )  # that it keeps all logits; that one split has no spread
        metric = image_metrics().inception.InceptionScore(feature=Given(logits.shape[1]), splits=1)
        metric.update(logits.double())
        return float(metric.compute()[0])
