"""Adversarial losses against closed forms, numpy, torch, and finite differences."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.gan.objectives import ENERGIES, SCORES
from workers.generation.adversarial import Encounter, Judge
from workers.generation.divergences import DIVERGENCES, Divergence
from workers.generation.energies import BoundaryEquilibrium, EnergyBased, MarginAdaptive
from workers.generation.objectives import loss_of
from workers.generation.penalties import clip_weights, gradient_penalty, pulling_away
from workers.generation.recipe import GenerationRecipe
from workers.generation.scores import (
    LossSensitive,
    critic,
    cross_entropy,
    hinge,
    saturated,
    squares,
    squares_to_one,
    unsaturated,
)

Numbers = NDArray[np.float64]


class Linear(nn.Module):
    """Scores that are inner products with one image."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.weight).flatten(1).sum(1)


class Shrinking(nn.Module):
    """An auto-encoder that halves."""

    def forward(self, images: Tensor) -> Tensor:
        return images / 2

    def encode(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :3]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scores(count: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    real, fake = torch.randn(2, count, dtype=torch.float64, generator=generator(seed))
    return real + 0.3, fake


def seen(network: nn.Module, count: int = 5, seed: int = 1) -> Encounter:
    real, fake = torch.rand(2, count, 2, 3, 4, dtype=torch.float64, generator=generator(seed)) * 2 - 1
    return Encounter(Judge(network, None), real, fake, generator(seed))


def sigmoid(x: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-x))


def test_cross_entropy_is_torchs_with_one_side_smoothed() -> None:
    real, fake = scores()
    for smoothing in (0.0, 0.1):
        expected = functional.binary_cross_entropy_with_logits(real, torch.full_like(real, 1 - smoothing))
        expected = expected + functional.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        torch.testing.assert_close(cross_entropy(real, fake, smoothing), expected)


def test_only_real_images_are_smoothed() -> None:
    """The best score of a real image is that of 0.9; that of a generated one stays without a bound."""
    real = torch.tensor([math.log(0.9 / 0.1)], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([-3.0], dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad(cross_entropy(real, fake, smoothing=0.1), (real, fake))
    assert float(slopes[0]) == pytest.approx(0.0, abs=1e-12)
    assert float(slopes[1]) == pytest.approx(sigmoid(np.array(-3.0)).item())
    (slope,) = torch.autograd.grad(squares(torch.tensor([0.9], requires_grad=True), real, 0.1), real)
    assert float(slope) == pytest.approx(math.log(9))


def test_the_first_objective_saturates_and_the_second_does_not() -> None:
    fake = torch.tensor([-12.0, 12.0], dtype=torch.float64, requires_grad=True)  # sure it is fake; fooled
    (flat,) = torch.autograd.grad(saturated(fake), fake)
    (steep,) = torch.autograd.grad(unsaturated(fake), fake)
    assert float(flat[0]) == pytest.approx(-sigmoid(np.array(-12.0)).item() / 2)
    assert float(steep[0]) == pytest.approx(-sigmoid(np.array(12.0)).item() / 2)
    assert abs(float(flat[0])) < 1e-5 < 0.49 < abs(float(steep[0]))
    assert float(saturated(fake.detach())) == pytest.approx(np.log(1 - sigmoid(np.array([-12.0, 12.0]))).mean())
    assert float(unsaturated(fake.detach())) == pytest.approx(-np.log(sigmoid(np.array([-12.0, 12.0]))).mean())


def test_squares_hinge_and_critic_are_what_they_are_in_numpy() -> None:
    real, fake = scores()
    x, y = real.numpy(), fake.numpy()
    assert float(squares(real, fake, 0.1)) == pytest.approx(0.5 * ((x - 0.9) ** 2).mean() + 0.5 * (y**2).mean())
    assert float(squares_to_one(fake)) == pytest.approx(0.5 * ((y - 1) ** 2).mean())
    assert float(hinge(real, fake)) == pytest.approx(np.maximum(0, 1 - x).mean() + np.maximum(0, 1 + y).mean())
    assert float(critic(real, fake)) == pytest.approx(y.mean() - x.mean())


def test_loss_sensitive_asks_for_a_margin_of_the_distance() -> None:
    network = Linear(torch.randn(2, 3, 4, dtype=torch.float64, generator=generator(3)))
    met = seen(network)
    w, x, y = (one.detach().numpy() for one in (network.weight, met.real, met.fake))
    real, fake = (-(one * w).reshape(5, -1).sum(1) for one in (x, y))
    slack = np.maximum(0, 0.7 * np.abs(x - y).reshape(5, -1).mean(1) + real - fake)
    loss = LossSensitive(margin=0.7, weight=4.0)
    assert loss.discriminator(met).item() == pytest.approx((real.mean() + 4 * slack.mean()) / 4)
    assert loss.generator(met.judge, met.fake).item() == pytest.approx(fake.mean())


def test_the_penalty_of_a_linear_critic_is_that_of_its_weight() -> None:
    weight = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator(3))
    network = Linear(weight)
    penalty = gradient_penalty(seen(network))
    length = float(np.linalg.norm(weight.numpy()))
    assert penalty.item() == pytest.approx((length - 1) ** 2)
    penalty.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(network.weight.grad, 2 * (length - 1) * weight / length)
    met = seen(network)
    whole = loss_of(GenerationRecipe(objective="wasserstein_penalty", penalty=10.0)).discriminator(met)
    apart = ((met.fake - met.real) * weight).flatten(1).sum(1).mean()
    assert whole.item() == pytest.approx(apart.item() + 10 * (length - 1) ** 2)


def test_the_penalty_is_taken_between_real_and_generated_images() -> None:
    """The slope of half the square of an image is that image: its length says where it was taken."""
    asked: list[Tensor] = []

    class Bowl(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            asked.append(images)
            return images.square().flatten(1).sum(1) / 2

    met = seen(Bowl())
    penalty = gradient_penalty(met).item()
    (between,) = asked
    assert penalty == pytest.approx((between.flatten(1).norm(dim=1) - 1).square().mean().item())
    places = ((between - met.fake) / (met.real - met.fake)).flatten(1)
    assert (places.max(1).values - places.min(1).values).max().item() < 1e-9
    assert places.min().item() >= 0
    assert places.max().item() <= 1
    assert len(set(places[:, 0].tolist())) == len(places)


def test_clipping_bounds_every_weight() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    weight, scale = network.get_parameter("0.weight"), network.get_parameter("1.weight")
    before = weight.detach().clone()
    loss_of(GenerationRecipe(objective="wasserstein_clipping", clipping=0.05)).limit(network)
    assert all(weight.abs().max().item() <= 0.05 + 1e-6 for weight in network.parameters())
    torch.testing.assert_close(weight, before.clamp(-0.05, 0.05))
    loss_of(GenerationRecipe(objective="hinge")).limit(network)
    clip_weights(network, 0.01)
    assert scale.max().item() == pytest.approx(0.01)


def test_energies_are_errors_of_reconstruction() -> None:
    met = seen(Shrinking())
    x, y = ((one.numpy() / 2).reshape(5, -1) for one in (met.real, met.fake))
    real, fake = (x**2).mean(1), (y**2).mean(1)
    loss = EnergyBased(margin=0.08, diversity=0.0)
    assert np.maximum(0, 0.08 - fake).max() > 0 == np.maximum(0, 0.08 - fake).min()
    assert float(loss.discriminator(met)) == pytest.approx(real.mean() + np.maximum(0, 0.08 - fake).mean())
    assert float(loss.generator(met.judge, met.fake)) == pytest.approx(fake.mean())
    varied = EnergyBased(margin=0.08, diversity=0.2).generator(met.judge, met.fake)
    codes = met.fake.flatten(1)[:, :3]
    assert float(varied) == pytest.approx(fake.mean() + 0.2 * float(pulling_away(codes)))


def test_pulling_away_is_the_mean_squared_cosine_of_pairs() -> None:
    codes = torch.randn(5, 7, dtype=torch.float64, generator=generator(4), requires_grad=True)
    rows = codes.detach().numpy()
    pairs = [(a, b) for a in range(5) for b in range(5) if a != b]
    cosines = [rows[a] @ rows[b] / np.linalg.norm(rows[a]) / np.linalg.norm(rows[b]) for a, b in pairs]
    assert pulling_away(codes).item() == pytest.approx(np.square(cosines).mean())
    assert torch.autograd.gradcheck(pulling_away, (codes,))
    assert float(pulling_away(torch.ones(4, 3))) == pytest.approx(1.0)
    assert float(pulling_away(torch.eye(3))) == pytest.approx(0.0)


def test_the_margin_adapts_only_where_both_sides_allow_it() -> None:
    loss, judge = MarginAdaptive(), Judge(Shrinking(), None)

    def epoch(real: float, fake: float) -> float:
        """Errors of halving an image of constant levels are a quarter of the levels' squares."""
        one, other = (torch.full((4, 1, 2, 2), math.sqrt(4 * energy), dtype=torch.float64) for energy in (real, fake))
        loss.discriminator(Encounter(judge, one, other, generator()))
        loss.generator(judge, other)
        loss.end_epoch()
        return loss.margin

    one = torch.full((4, 1, 2, 2), 2.0, dtype=torch.float64)
    assert float(loss.pretraining(judge, one)) == pytest.approx(1.0)
    loss.begin(1.0)
    assert epoch(0.8, 0.9) == pytest.approx(1.0)  # nothing to compare the generated images' energy with
    assert epoch(0.7, 0.85) == pytest.approx(1.0)  # it fell: the generator learns
    assert epoch(0.6, 0.55) == pytest.approx(1.0)  # real images are not better
    assert epoch(0.6, 0.7) == pytest.approx(0.6)
    assert epoch(0.65, 0.8) == pytest.approx(0.6)  # never up
    again = MarginAdaptive()
    again.restore(json.loads(json.dumps(loss.record())))
    assert (again.margin, again.before) == (loss.margin, loss.before)


def test_the_equilibrium_moves_k_by_what_the_balance_lacks() -> None:
    loss, met = BoundaryEquilibrium(ratio=0.5, gain=0.02), seen(Shrinking())
    x, y = (np.abs(one.numpy() / 2).mean() for one in (met.real, met.fake))
    assert float(loss.discriminator(met)) == pytest.approx(x)  # k begins with 0
    assert float(loss.generator(met.judge, met.fake / 4)) == pytest.approx(y / 4)
    k = 0.02 * (0.5 * x - y / 4)
    assert loss.k == pytest.approx(k)
    assert float(loss.discriminator(met)) == pytest.approx(x - k * y)
    loss.end_epoch()
    assert loss.figures() == pytest.approx({"equilibrium": k, "convergence": x + abs(0.5 * x - y / 4)})
    loss.balance(0.0, 10.0)
    assert loss.k == 0.0
    loss.k = 0.9999
    loss.balance(10.0, 0.0)
    assert loss.k == 1.0


def test_the_gain_is_as_published_unless_told_otherwise() -> None:
    usual = GenerationRecipe(objective="boundary_equilibrium")
    for recipe, gain in ((usual, 0.001), (replace(usual, gain=0.05), 0.05)):
        loss = loss_of(recipe)
        assert isinstance(loss, BoundaryEquilibrium)
        loss.balance(2.0, 0.0)
        assert loss.k == pytest.approx(gain)


def fooled(divergence: Divergence, real: Tensor, fake: Tensor) -> Tensor:
    return divergence.fooled(fake) + 0 * real.sum()


SMOOTH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross entropy": partial(cross_entropy, smoothing=0.1),
    "saturated": lambda real, fake: saturated(fake) + 0 * real.sum(),
    "unsaturated": lambda real, fake: unsaturated(fake) + 0 * real.sum(),
    "squares": partial(squares, smoothing=0.1),
    "squares to one": lambda real, fake: squares_to_one(fake) + 0 * real.sum(),
    "hinge": hinge,
    "critic": critic,
    **{name: one.apart for name, one in DIVERGENCES.items()},
    **{f"{name} fooled": partial(fooled, one) for name, one in DIVERGENCES.items()},
}


@pytest.mark.parametrize("name", SMOOTH)
def test_slopes_are_finite_differences(name: str) -> None:
    real, fake = (one.requires_grad_() for one in scores())
    assert torch.autograd.gradcheck(SMOOTH[name], (real, fake))


@pytest.mark.parametrize("objective", [*SCORES, *ENERGIES])
def test_every_objective_makes_each_side_want_what_it_should(objective: str) -> None:
    """Less loss for the discriminator: real images better judged; for the generator: its own better judged."""
    loss = loss_of(GenerationRecipe(objective=objective, diversity=0.0))
    count = 4
    if objective in SCORES:
        offsets = torch.full((2 * count,), 0.5, dtype=torch.float64, requires_grad=True)

        class Offset(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                """The score is what the image carries in its first pixel, and its own offset."""
                places = images[:, 0, 0, 0].detach().round().long().clamp(0, 2 * count - 1)
                return offsets[places] + 0 * images.flatten(1).sum(1)

        images = torch.arange(2 * count, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
        judge = Judge(Offset(), None)
        apart = loss.discriminator(Encounter(judge, images[:count], images[count:], generator()))
        (slope,) = torch.autograd.grad(apart, offsets)
        assert bool((slope[:count] < 0).all())
        assert bool((slope[count:] > 0).all())
        (slope,) = torch.autograd.grad(loss.generator(judge, images[count:]), offsets)
        assert bool((slope[count:] < 0).all())
    else:
        images = torch.rand(count, 1, 2, 2, dtype=torch.float64, generator=generator(), requires_grad=True)
        (slope,) = torch.autograd.grad(loss.generator(Judge(nn.Upsample(scale_factor=1), None), images), images)
        assert not bool(slope.any())  # a perfect reconstruction has no energy
        (slope,) = torch.autograd.grad(EnergyBased(1.0, 0.0).generator(Judge(Shrinking(), None), images), images)
        assert bool((slope > 0).all())


def test_labels_reach_the_discriminator() -> None:
    network = nn.Bilinear(4, 2, 1)

    class Labelled(nn.Module):
        def forward(self, images: Tensor, label: Tensor) -> Tensor:
            answer: Tensor = network(images.flatten(1), functional.one_hot(label, 2).float())[:, 0]
            return answer

    images, labels = torch.rand(3, 1, 2, 2, generator=generator()), torch.tensor([0, 1, 1])
    judge = Judge(Labelled(), labels)
    torch.testing.assert_close(judge(images), network(images.flatten(1), functional.one_hot(labels, 2).float())[:, 0])
    torch.testing.assert_close(judge.codes(images), judge(images)[:, None])
