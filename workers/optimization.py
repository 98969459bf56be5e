"""Optimizers by name, the course of the learning rate, and how weights begin."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from workers.recipe import Recipe


def optimizer(recipe: Recipe, parameters: Iterable[Tensor]) -> Optimizer:
    """The optimizer of `recipe`, as torch has it, over `parameters`.

    Fused kernels where torch has them: a step over 300 small tensors takes a third of the time on a CPU.
    """
    rate, decay, weights = recipe.learning_rate, recipe.weight_decay, list(parameters)
    match recipe.optimizer:
        case "sgd":
            return SGD(weights, rate, weight_decay=decay, fused=True)
        case "momentum":
            nesterov = recipe.momentum > 0
            return SGD(weights, rate, momentum=recipe.momentum, nesterov=nesterov, weight_decay=decay, fused=True)
        case "adagrad":
            return Adagrad(weights, rate, weight_decay=decay, foreach=True)
        case "rmsprop":
            return RMSprop(weights, rate, weight_decay=decay, foreach=True)
        case "adam":
            return Adam(weights, rate, weight_decay=decay, fused=True)
        case "adamw":
            return AdamW(weights, rate, weight_decay=decay, fused=True)
    raise AssertionError(recipe.optimizer)  # the recipe's rules name no other


def rate_factor(recipe: Recipe, place: float) -> float:
    """What the first learning rate is multiplied by at `place` (0 to 1) of the schedule."""
    place = min(1.0, max(0.0, place))
    if recipe.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * place))
    if recipe.schedule == "step":
        return recipe.drop_factor ** min(recipe.drops, math.floor(place * (recipe.drops + 1) + 1e-9))
    return 1.0


def add_l1(parameters: Iterable[Tensor], factor: float) -> None:
    """Add to each gradient that of `factor` times the sum of the weights' absolute values."""
    for weight in parameters:
        if weight.grad is not None:
            weight.grad.add_(weight.detach().sign(), alpha=factor)


def initialise(model: nn.Module, initialiser: str) -> None:
    """Draw weights of convolutions, linear and recurrent layers: `kaiming` (fan out), `xavier` or `orthogonal`."""
    if initialiser == "default":
        return
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.RNNBase | nn.RNNCellBase):
            for name, weight in module.named_parameters(recurse=False):
                if "bias" in name:
                    nn.init.zeros_(weight)
                elif initialiser == "kaiming":
                    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
                elif initialiser == "xavier":
                    nn.init.xavier_uniform_(weight)
                else:
                    nn.init.orthogonal_(weight)


def optimizer_tensors(chosen: Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors, `<parameter's place>/<name>`."""
    state = chosen.state_dict()["state"]
    return {
        f"{place}/{name}": value.detach().cpu().clone()
        for place, entries in state.items()
        for name, value in entries.items()
        if isinstance(value, torch.Tensor)
    }


def restore_optimizer(chosen: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave.

    Moments take the memory format of their weight: fused kernels walk both through memory in one order.
    """
    weights = [weight for group in chosen.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, _, name = key.partition("/")
        weight = weights[int(place)]
        moment = torch.empty_like(weight, dtype=value.dtype).copy_(value) if value.shape == weight.shape else value
        state.setdefault(int(place), {})[name] = moment.detach()
    chosen.load_state_dict({"state": state, "param_groups": chosen.state_dict()["param_groups"]})
