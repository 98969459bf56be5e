"""f-divergences: their tables, their optimal discriminators on two Gaussians, against closed forms and quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from workers.generation.divergences import DIVERGENCES
from workers.generation.scores import cross_entropy

P, Q = stats.norm(0.0, 1.0), stats.norm(0.5, 1.2)
GRID, STEP = np.linspace(-14, 14, 20_001, retstep=True)


# f of the ratio p/q, f', f*, g, and the inverse of g, all as tables 1, 2 and 6 of Nowozin et al. 2016 have them
Function = Callable[[Any], Any]
TABLES: dict[str, tuple[Function, Function, Function, Function, Function]] = {
    "kl": (
        lambda u: u * np.log(u),
        lambda u: 1 + np.log(u),
        lambda t: np.exp(t - 1),
        lambda v: v,
        lambda t: t,
    ),
    "reverse_kl": (
        lambda u: -np.log(u),
        lambda u: -1 / u,
        lambda t: -1 - np.log(-t),
        lambda v: -np.exp(-v),
        lambda t: -np.log(-t),
    ),
    "pearson": (
        lambda u: (u - 1) ** 2,
        lambda u: 2 * (u - 1),
        lambda t: t**2 / 4 + t,
        lambda v: v,
        lambda t: t,
    ),
    "hellinger": (
        lambda u: (np.sqrt(u) - 1) ** 2,
        lambda u: (np.sqrt(u) - 1) / np.sqrt(u),
        lambda t: t / (1 - t),
        lambda v: 1 - np.exp(-v),
        lambda t: -np.log(1 - t),
    ),
    "jensen_shannon": (
        lambda u: -(u + 1) * np.log((1 + u) / 2) + u * np.log(u),
        lambda u: np.log(2 * u / (1 + u)),
        lambda t: -np.log(2 - np.exp(t)),
        lambda v: np.log(2) - np.log(1 + np.exp(-v)),
        lambda t: -np.log(2 * np.exp(-t) - 1),
    ),
}


def closed_form(name: str) -> float:
    """The divergence of P from Q: closed forms of two Gaussians, else adaptive quadrature."""
    (a, s), (b, r) = (P.mean(), P.std()), (Q.mean(), Q.std())
    if name == "kl":
        return float(math.log(r / s) + (s**2 + (a - b) ** 2) / (2 * r**2) - 0.5)
    if name == "reverse_kl":
        return float(math.log(s / r) + (r**2 + (a - b) ** 2) / (2 * s**2) - 0.5)
    if name == "pearson":
        rest = 2 * r**2 - s**2
        return float(r**2 / (s * math.sqrt(rest)) * math.exp((a - b) ** 2 / rest) - 1)
    if name == "hellinger":
        overlap = math.sqrt(2 * s * r / (s**2 + r**2)) * math.exp(-((a - b) ** 2) / (4 * (s**2 + r**2)))
        return 2 - 2 * overlap

    def integrand(x: float) -> float:
        p, q = P.pdf(x), Q.pdf(x)
        return float(p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q)))

    return float(integrate.quad(integrand, -12, 12, epsabs=1e-11)[0])


def integral(name: str, score: Tensor) -> Tensor:
    """The bound that `score` on the grid gives, by the trapezoidal rule."""
    divergence = DIVERGENCES[name]
    p, q = torch.from_numpy(P.pdf(GRID)), torch.from_numpy(Q.pdf(GRID))
    return torch.trapezoid(p * divergence.activation(score) - q * divergence.conjugate(score), dx=STEP)


def optimal(name: str) -> Tensor:
    _, slope, _, _, inverse = TABLES[name]
    return torch.from_numpy(inverse(slope(np.exp(P.logpdf(GRID) - Q.logpdf(GRID)))))


@pytest.mark.parametrize("name", TABLES)
def test_the_optimal_discriminator_gives_the_divergence(name: str) -> None:
    assert float(integral(name, optimal(name))) == pytest.approx(closed_form(name), rel=1e-6)
    f = TABLES[name][0]
    ratio = np.exp(P.logpdf(GRID) - Q.logpdf(GRID))
    assert np.trapezoid(Q.pdf(GRID) * f(ratio), dx=STEP) == pytest.approx(closed_form(name), rel=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_no_other_discriminator_gives_more(name: str) -> None:
    best = optimal(name).requires_grad_()
    (slope,) = torch.autograd.grad(integral(name, best), best)
    assert float(slope.abs().max()) < 1e-9
    for phase in range(5):
        other = best.detach() + 0.3 * torch.sin(torch.from_numpy(GRID) + phase)
        assert float(integral(name, other)) < closed_form(name)


@pytest.mark.parametrize("name", TABLES)
def test_both_sides_are_as_the_tables_have_them(name: str) -> None:
    _, _, conjugate, activation, _ = TABLES[name]
    real, fake = torch.linspace(-2, 3, 7, dtype=torch.float64), torch.linspace(-3, 2, 6, dtype=torch.float64)
    divergence = DIVERGENCES[name]
    bound = activation(real.numpy()).mean() - conjugate(activation(fake.numpy())).mean()
    assert float(divergence.apart(real, fake)) == pytest.approx(-bound)
    assert float(divergence.fooled(fake)) == pytest.approx(-activation(fake.numpy()).mean())


def test_the_optimal_discriminator_of_the_first_gan_gives_the_jensen_shannon_divergence() -> None:
    """Theorem 1 of Goodfellow et al. 2014: its value is the divergence minus log 4."""
    places = (np.arange(200_000) + 0.5) / 200_000  # quantiles are samples without noise
    real, fake = (torch.from_numpy(P.logpdf(x) - Q.logpdf(x)) for x in (P.ppf(places), Q.ppf(places)))
    value = -float(cross_entropy(real, fake, smoothing=0.0))
    assert value == pytest.approx(closed_form("jensen_shannon") - math.log(4), abs=1e-5)
