"""The objectives by name, each as the loss that a recipe makes of it."""

from __future__ import annotations

from functools import partial

from workers.generation.adversarial import AdversarialLoss
from workers.generation.divergences import DIVERGENCES
from workers.generation.energies import BoundaryEquilibrium, EnergyBased, MarginAdaptive
from workers.generation.recipe import GenerationRecipe
from workers.generation.scores import (
    LossSensitive,
    Scored,
    critic,
    cross_entropy,
    hinge,
    mistrusted,
    saturated,
    squares,
    squares_to_one,
    unsaturated,
)


def loss_of(recipe: GenerationRecipe) -> AdversarialLoss:
    """The loss of the recipe's objective, at the beginning of a training."""
    smoothing = recipe.label_smoothing
    match recipe.objective:
        case "minimax":
            return Scored(partial(cross_entropy, smoothing=smoothing), saturated)
        case "non_saturating":
            return Scored(partial(cross_entropy, smoothing=smoothing), unsaturated)
        case "least_squares":
            return Scored(partial(squares, smoothing=smoothing), squares_to_one)
        case "loss_sensitive":
            return LossSensitive(recipe.margin, recipe.penalty)
        case "wasserstein_clipping":
            return Scored(critic, mistrusted, bound=recipe.clipping)
        case "wasserstein_penalty":
            return Scored(critic, mistrusted, penalty=recipe.penalty)
        case "hinge":
            return Scored(hinge, mistrusted)
        case "energy_based":
            return EnergyBased(recipe.margin, recipe.diversity)
        case "margin_adaptive":
            return MarginAdaptive()
        case "boundary_equilibrium":
            return BoundaryEquilibrium(recipe.equilibrium, recipe.gain)
        case name:
            divergence = DIVERGENCES[name]
            return Scored(divergence.apart, divergence.fooled)
