"""PairRecipe: what a recipe for networks that write texts has besides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from search_spaces.decision import Choice, Decision, Range
from workers.recipe import Recipe

RAMPS = ("linear", "inverse_sigmoid")
STEEPNESS = 100.0  # of the sigmoid: it begins at 1 in 101 of its end


@dataclass(frozen=True, kw_only=True)
class PairRecipe(Recipe):
    """Further settings of the training of a network that writes texts.

    `scheduled_sampling` is the probability, in the last epoch, that a network reads what it would have written itself
    in the place of the right token (Bengio et al. 2015; the likeliest, drawn for each token alone); it grows from 0 as
    `ramp` says. `label_smoothing` gives that share of each target to all tokens alike.
    """

    optimizer: str = "adam"
    learning_rate: float = 0.003
    weight_decay: float = 0.0
    gradient_clipping: float = 1.0
    batch_size: int = 64
    scheduled_sampling: float = 0.0
    ramp: str = "linear"
    label_smoothing: float = 0.0

    rules: ClassVar[Mapping[str, Decision]] = MappingProxyType(
        {
            **Recipe.rules,
            "scheduled_sampling": Range(0.0, 1.0),
            "ramp": Choice(RAMPS),
            "label_smoothing": Range(0.0, 0.99),
        }
    )


def sampled_share(recipe: PairRecipe, epoch: int, horizon: int) -> float:
    """The probability to read an own token in `epoch`, counted from 0, of a schedule of `horizon` epochs."""
    place = min(1.0, epoch / max(1, horizon - 1)) if horizon > 1 else 1.0
    if recipe.ramp == "inverse_sigmoid":
        place = 1 / (1 + math.exp(math.log(STEEPNESS) * (1 - 2 * place)))
    return recipe.scheduled_sampling * place
