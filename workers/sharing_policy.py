"""How a store steps on the gradients of children that share weights: what a recipe says, as far as a store can."""

from __future__ import annotations

from parameter_server.optimizers import SGD, AdaGrad, Adam, Momentum, Optimizer, RMSProp
from parameter_server.policy import Group, Policy
from workers.errors import UserError
from workers.recipe import Recipe

SCALED = ("sgd", "momentum")  # where a smaller gradient is a smaller step, so that a schedule can be followed


def sharing_policy(recipe: Recipe) -> Policy:
    """Every push is applied as it comes, with the recipe's optimizer; weight decay and clipping come before it."""
    if recipe.optimizer == "adamw":
        raise UserError("optimizer is 'adamw', whose weight decay a store does not have: use adam with weights: shared")
    if recipe.optimizer not in SCALED and recipe.schedule != "constant":
        raise UserError(
            f"schedule is {recipe.schedule!r}, but with weights: shared only sgd and momentum follow a schedule: set "
            f"schedule: constant beside {recipe.optimizer}"
        )
    return Policy((Group(optimizer_of(recipe)),))


def optimizer_of(recipe: Recipe) -> Optimizer:
    """The recipe's optimizer as a store has it, with the values that torch's has by default."""
    rate = recipe.learning_rate
    match recipe.optimizer:
        case "sgd":
            return SGD(rate)
        case "momentum":
            return Momentum(rate, recipe.momentum, nesterov=recipe.momentum > 0)
        case "adagrad":
            return AdaGrad(rate)
        case "rmsprop":
            return RMSProp(rate)
        case "adam":
            return Adam(rate)
    raise AssertionError(recipe.optimizer)
