from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import Optimizer

from workers.optimization import (
    add_l1,
    initialise,
    optimizer,
    optimizer_tensors,
    rate_factor,
    restore_optimizer,
)
from workers.recipe import INITIALISERS, OPTIMIZERS, Recipe

# the published update rules, written out: weight, gradient, memory -> weight
Rule = Callable[[Tensor, Tensor, dict[str, Tensor], int], Tensor]
RATE, DECAY = 0.05, 0.01


def _sgd(w: Tensor, g: Tensor, m: dict[str, Tensor], t: int) -> Tensor:
    return w - RATE * (g + DECAY * w)


def _nesterov(w: Tensor, g: Tensor, m: dict[str, Tensor], t: int) -> Tensor:
    g = g + DECAY * w
    m["v"] = 0.9 * m["v"] + g if "v" in m else g
    return w - RATE * (g + 0.9 * m["v"])


def _adagrad(w: Tensor, g: Tensor, m: dict[str, Tensor], t: int) -> Tensor:
    g = g + DECAY * w
    m["s"] = m.get("s", torch.zeros_like(w)) + g**2
    return w - RATE * g / (m["s"].sqrt() + 1e-10)


def _rmsprop(w: Tensor, g: Tensor, m: dict[str, Tensor], t: int) -> Tensor:
    g = g + DECAY * w
    m["s"] = 0.99 * m.get("s", torch.zeros_like(w)) + 0.01 * g**2
    return w - RATE * g / (m["s"].sqrt() + 1e-8)


def _moments(g: Tensor, m: dict[str, Tensor], t: int) -> Tensor:
    m["m"] = 0.9 * m.get("m", torch.zeros_like(g)) + 0.1 * g
    m["s"] = 0.999 * m.get("s", torch.zeros_like(g)) + 0.001 * g**2
    return m["m"] / (1 - 0.9**t) / ((m["s"] / (1 - 0.999**t)).sqrt() + 1e-8)


def _adam(w: Tensor, g: Tensor, m: dict[str, Tensor], t: int) -> Tensor:
    return w - RATE * _moments(g + DECAY * w, m, t)


def _adamw(w: Tensor, g: Tensor, m: dict[str, Tensor], t: int) -> Tensor:
    return w * (1 - RATE * DECAY) - RATE * _moments(g, m, t)


RULES: dict[str, Rule] = {
    "sgd": _sgd,
    "momentum": _nesterov,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adamw,
}


def _step(chosen: Optimizer, weight: Tensor, gradient: Tensor) -> None:
    weight.grad = gradient.clone()
    chosen.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_follow_their_published_rules(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(7, generator=generator)
    expected, memory = weight.double(), dict[str, Tensor]()
    weight = weight.clone().requires_grad_()
    chosen = optimizer(Recipe(optimizer=name, learning_rate=RATE, weight_decay=DECAY), [weight])
    for step in range(1, 6):
        gradient = torch.randn(7, generator=generator)
        _step(chosen, weight, gradient)
        expected = RULES[name](expected, gradient.double(), memory, step)
        torch.testing.assert_close(weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_its_tensors(name: str) -> None:
    recipe, generator = Recipe(optimizer=name), torch.Generator().manual_seed(2)
    gradients = torch.randn(6, 2, 5, generator=generator)
    straight, broken = torch.ones(2, 5).requires_grad_(), torch.ones(2, 5).requires_grad_()
    first, second = optimizer(recipe, [straight]), optimizer(recipe, [broken])
    for place, gradient in enumerate(gradients):
        _step(first, straight, gradient)
        if place == 3:
            kept = optimizer_tensors(second)
            second = optimizer(recipe, [broken])
            restore_optimizer(second, kept)
        _step(second, broken, gradient)
    assert torch.equal(straight, broken)


@given(st.floats(0, 1))
def test_cosine_is_the_closed_form(place: float) -> None:
    assert rate_factor(Recipe(schedule="cosine"), place) == pytest.approx((1 + math.cos(math.pi * place)) / 2)
    assert rate_factor(Recipe(schedule="constant"), place) == 1


def test_cosine_is_torchs() -> None:
    weight = torch.zeros(1, requires_grad=True)
    chosen = torch.optim.SGD([weight], 1.0)
    course = torch.optim.lr_scheduler.CosineAnnealingLR(chosen, T_max=20)
    for step in range(20):
        assert rate_factor(Recipe(), step / 20) == pytest.approx(chosen.param_groups[0]["lr"])
        chosen.step()
        course.step()


def test_step_is_torchs_step_rule() -> None:
    """Three drops over 20 epochs come after 5, 10 and 15: StepLR with a period of 5."""
    chosen = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    course = torch.optim.lr_scheduler.StepLR(chosen, step_size=5, gamma=0.3)
    recipe = Recipe(schedule="step", drops=3, drop_factor=0.3)
    for epoch in range(20):
        assert rate_factor(recipe, epoch / 20) == pytest.approx(chosen.param_groups[0]["lr"])
        chosen.step()
        course.step()
    assert rate_factor(recipe, 1.0) == pytest.approx(0.3**3)


def test_l1_adds_the_gradient_of_the_absolute_sum() -> None:
    weights = [torch.tensor([1.5, -2.0, 0.0], requires_grad=True), torch.tensor([[-0.1]], requires_grad=True)]
    sum((w**2).sum() for w in weights).backward()  # type: ignore[union-attr]
    add_l1(weights, 0.25)
    plain = [w.detach().clone().requires_grad_() for w in weights]
    (sum((w**2).sum() for w in plain) + 0.25 * sum(w.abs().sum() for w in plain)).backward()  # type: ignore[union-attr]
    for weight, expected in zip(weights, plain, strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected.grad)


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialisers_draw_what_their_names_say(name: str) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.Linear(64, 64))
    before = [value.clone() for value in model.state_dict().values()]
    initialise(model, name)
    convolution, linear = model[0], model[2]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(linear, nn.Linear)
    weight = convolution.weight.detach()
    if name == "default":
        assert all(map(torch.equal, before, model.state_dict().values()))
    elif name == "kaiming":  # He et al. 2015: variance 2 / (fan out)
        assert float(weight.var()) == pytest.approx(2 / (64 * 9), rel=0.05)
    elif name == "xavier":  # Glorot & Bengio 2010: uniform up to sqrt(6 / (fan in + fan out))
        limit = math.sqrt(6 / (9 * (32 + 64)))
        assert float(weight.abs().max()) <= limit
        assert float(weight.var()) == pytest.approx(limit**2 / 3, rel=0.05)
    else:
        torch.testing.assert_close(linear.weight @ linear.weight.T, torch.eye(64), atol=1e-4, rtol=0)
    assert torch.equal(model.state_dict()["1.weight"], torch.ones(64))
