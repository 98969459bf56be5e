"""A store steps on shared weights as torch's optimizers would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from parameter_server.memory_store import MemoryStore
from parameter_server.store import PushId
from workers.errors import UserError
from workers.optimization import optimizer
from workers.recipe import OPTIMIZERS, Recipe
from workers.shared_training import direction
from workers.sharing_policy import sharing_policy


@pytest.mark.parametrize("name", [one for one in OPTIMIZERS if one != "adamw"])
def test_pushes_do_what_the_recipe_s_optimizer_does(name: str) -> None:
    recipe = Recipe(optimizer=name, learning_rate=0.02, schedule="constant", weight_decay=0.01, gradient_clipping=1.5)
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(5, 4, generator=generator))
    store, chosen = MemoryStore(sharing_policy(recipe)), optimizer(recipe, [weight])
    store.create({"weight": weight.detach().numpy().copy()})
    for number in range(6):
        gradient = torch.randn(5, 4, generator=generator)
        pulled = store.pull()
        given = direction({"weight": gradient.numpy().copy()}, pulled.tensors, recipe, 1.0)
        store.push(given, pulled.version, PushId("test", number))
        weight.grad = gradient
        nn.utils.clip_grad_norm_([weight], recipe.gradient_clipping)
        chosen.step()
    np.testing.assert_allclose(store.pull().tensors["weight"], weight.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_a_schedule_inside_the_momentum_is_followed() -> None:
    """V = m v + rate(t) g, w -= v: momentum as Sutskever et al. write it, with Nesterov's look ahead."""
    recipe = Recipe(learning_rate=0.1, momentum=0.8, weight_decay=0.0, gradient_clipping=0.0)
    store = MemoryStore(sharing_policy(recipe))
    weight, velocity = np.full(3, 2.0), np.zeros(3)
    store.create({"weight": weight.copy()})
    generator = np.random.default_rng(0)
    for number, factor in enumerate((1.0, 0.5, 0.2, 0.05)):
        gradient = generator.normal(size=3)
        pulled = store.pull()
        given = direction({"weight": gradient}, pulled.tensors, recipe, factor)
        store.push(given, pulled.version, PushId("test", number))
        velocity = recipe.momentum * velocity + recipe.learning_rate * factor * gradient
        weight = weight - recipe.momentum * velocity - recipe.learning_rate * factor * gradient
    np.testing.assert_allclose(store.pull().tensors["weight"], weight, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["adagrad", "rmsprop", "adam"])
def test_a_schedule_that_a_store_cannot_follow_is_refused(optimizer: str) -> None:
    with pytest.raises(UserError, match=f"set schedule: constant beside {optimizer}"):
        sharing_policy(Recipe(optimizer=optimizer))


def test_an_optimizer_that_a_store_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match="use adam with weights: shared"):
        sharing_policy(Recipe(optimizer="adamw", schedule="constant"))
