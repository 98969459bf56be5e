"""Reconstruction: its noise, its losses, its bound, and what principal components reach."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Laplace, MultivariateNormal, Normal
from torch.nn import functional

from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate
from search_spaces.gan.autoencoder_network import Autoencoder
from workers.checkpoint import load
from workers.errors import DivergedError, UserError
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.reconstructing import CONSTANTS, Reconstructing, lower_bound, pixel_loss, spoiled
from workers.setup import Setup
from workers.tasks.reconstruction import Reconstruction
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop

PLAIN: dict[str, Any] = {
    "widths": [],
    "convolutional": False,
    "activation": "identity",
    "batch_norm": False,
    "dropout": 0.0,
}


def trained(task: dict[str, Any], space: dict[str, Any], candidate: dict[str, Any], epochs: int) -> Result:
    workshop = Workshop(Setup("r", Spec("reconstruction", task), Spec("autoencoder", space)))
    table = workshop.space.decisions | workshop.task.decisions if workshop.space else workshop.task.decisions
    return workshop.run(Attempt(Trial(1, table.candidate(candidate), epochs, epochs)), lambda _: None)


def test_masking_loses_its_share_of_pixels_in_all_channels() -> None:
    images = torch.ones(200, 3, 8, 8)
    found = spoiled(images, "masking", 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(found[:, 0], found[:, 1])
    lost = float((found == 0).float().mean())
    assert lost == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / (200 * 64)))
    assert set(found.flatten().tolist()) == {0.0, 1.0}


def test_gaussian_noise_has_its_deviation_and_none_is_none() -> None:
    images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    noise = spoiled(images, "gaussian", 0.2, torch.Generator().manual_seed(0)) - images
    assert float(noise.std()) == pytest.approx(0.2, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.01)
    assert torch.equal(spoiled(images, "none", 0.2, torch.Generator()), images)


def log_density(distribution: Distribution, places: Tensor) -> Tensor:
    return distribution.log_prob(places)


def test_losses_are_negative_log_likelihoods_up_to_their_constants() -> None:
    generator = torch.Generator().manual_seed(0)
    found, images = torch.rand(2, 3, 1, 4, 4, generator=generator)
    for loss, likelihood in (
        ("mse", log_density(Normal(found, math.sqrt(0.5)), images)),
        ("l1", log_density(Laplace(found, 1.0), images)),
        ("bernoulli", images * found.log() + (1 - images) * (1 - found).log()),
    ):
        torch.testing.assert_close(pixel_loss(found, images, loss) + CONSTANTS[loss], -likelihood)


def test_probabilities_are_asked_of_whom_they_are_needed() -> None:
    images = torch.rand(2, 1, 2, 2)
    with pytest.raises(UserError, match="output: sigmoid"):
        pixel_loss(images + 1, images, "bernoulli")
    with pytest.raises(DivergedError):
        pixel_loss(images * math.nan, images, "bernoulli")


def linear_gaussian() -> tuple[Autoencoder, Tensor, Tensor]:
    """Images W z + b + noise of variance 1/2, W's columns orthogonal; the encoder is the true posterior."""
    generator = torch.Generator().manual_seed(2)
    basis = torch.linalg.qr(torch.randn(6, 2, generator=generator, dtype=torch.float64)).Q
    weight, bias = basis * torch.tensor([1.5, 0.7]).double(), torch.randn(6, generator=generator, dtype=torch.float64)
    network = Autoencoder((1, 2, 3), 2, PLAIN, variational=True, output="linear").double().eval()
    precision = 1 + 2 * weight.square().sum(0)  # of the posterior: the prior's 1 and the squares over the variance
    with torch.no_grad():
        decoder = network.decoder.layers[0]
        assert isinstance(decoder, torch.nn.Linear)
        decoder.weight.copy_(weight)
        decoder.bias.copy_(bias)
        back = 2 * weight.T / precision[:, None]
        network.encoder.to_code.weight.copy_(torch.cat([back, torch.zeros_like(back)]))
        network.encoder.to_code.bias.copy_(torch.cat([-back @ bias, -precision.log()]))
    return network, weight, bias


def test_the_bound_is_the_likelihood_for_the_true_posterior_and_below_it_for_others() -> None:
    network, weight, bias = linear_gaussian()
    covariance = weight @ weight.T + 0.5 * torch.eye(6, dtype=torch.float64)
    images = torch.randn(4, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    right = log_density(MultivariateNormal(bias, covariance), images)
    many = images.repeat(20_000, 1).view(-1, 1, 2, 3)
    found = lower_bound(network, many, "mse", torch.Generator().manual_seed(6)).detach().view(20_000, 4).mean(0)
    torch.testing.assert_close(found, right, atol=0.05, rtol=0)
    with torch.no_grad():
        network.encoder.to_code.bias[:2] += 1.0
    lower = lower_bound(network, many, "mse", torch.Generator().manual_seed(6)).detach().view(20_000, 4).mean(0)
    assert bool((lower < right - 0.2).all())


def test_a_linear_auto_encoder_reaches_the_error_of_principal_components() -> None:
    """Baldi & Hornik (1989): its minimum is the span of the first components."""
    task = Reconstruction(train_examples=100, batch_size=100, learning_rate=0.05, gradient_clipping=0.0)
    part = task.images.train
    images = part.pixels[part.rows].reshape(len(part), -1) / 255
    left = np.linalg.svd(images - images.mean(0), compute_uv=False)[4:]
    best = float((left**2).sum() / images.size)
    torch.manual_seed(0)
    network = Autoencoder((1, 8, 8), 4, PLAIN, output="linear")
    trial = Trial(1, Candidate({}), epochs=800, horizon=800)
    course = Reconstructing(task, network, task.images, trial, (torch.device("cpu"), None))
    reached = [course.epoch(number)["train_loss"] for number in range(800)][-1]
    assert best * 0.99999 < reached < best * 1.001


@pytest.mark.parametrize("noise", ["none", "masking"])
def test_a_variational_network_says_its_bound(noise: str) -> None:
    candidate = {"kind": "variational", "latent": 4, "body": "deep", "depth": 1, "width1": 32, "activation": "relu"}
    task = {"train_examples": 100, "validation_examples": 50, "loss": "bernoulli", "noise": noise}
    result = trained(
        task,
        {"latents": [4], "widths": [32], "activations": ["relu"], "batch_norm": [False], "dropouts": [0.0]},
        {**candidate, "batch_norm": False, "dropout": 0.0},
        2,
    )
    assert result.outcome is Outcome.COMPLETED, result.error
    assert result.metrics["elbo"] < 0
    assert ("denoised_mse" in result.metrics) == (noise != "none")
    assert result.metrics["psnr"] == pytest.approx(-10 * math.log10(result.metrics["mse"]))


def test_the_mean_squared_error_is_that_of_torch() -> None:
    task = Reconstruction(train_examples=30, validation_examples=20)
    torch.manual_seed(0)
    network = Autoencoder((1, 8, 8), 4, PLAIN)
    course = Reconstructing(task, network, task.images, Trial(1, Candidate({})), (torch.device("cpu"), None))
    part = task.images.validation
    images = torch.from_numpy(part.pixels[part.rows]).float() / 255
    score = course.score("validation")
    assert score.metrics["mse"] == pytest.approx(float(functional.mse_loss(network(images), images).detach()), rel=1e-5)
    assert score.exhibits["samples.png"].startswith(b"\x89PNG")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(DecisionError, match="noise is 'salt'"):
        Reconstruction(noise="salt")
    with pytest.raises(UserError, match="share between 0 and 1"):
        Reconstruction(validation=0)
    with pytest.raises(UserError, match="add `space`"):
        next(Reconstruction().train(None, Trial(1, Candidate({})), None))


@pytest.mark.parametrize("kind", ["convolutional", "variational"])
def test_what_is_handed_over_can_be_exported_in_halves(kind: str) -> None:
    shop = Workshop(Setup("r", Spec("reconstruction", {}), Spec("autoencoder", {"kinds": [kind], "latents": [4]})))
    assert shop.space is not None
    candidate = shop.space.decisions.sample(Random(0))
    deployed = shop.task.deployable(shop.space.build(candidate, shop.task.signature), candidate)
    assert list(deployed) == ["model", "encoder", "decoder"]
    assert deployed["encoder"].outputs == (("mean", "log_variance") if kind == "variational" else ("code",))
    for one in deployed.values():
        free = tuple({0: torch.export.Dim("batch", min=1)} for _ in one.examples)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            program = torch.export.export(one.module, one.examples, dynamic_shapes=free).module()
        more = tuple(torch.cat([example, example[:1]]) for example in one.examples)
        torch.testing.assert_close(program(*more), one.module(*more))


def test_a_variational_training_with_noise_goes_on_exactly(tmp_path: Path) -> None:
    task = {"train_examples": 40, "validation_examples": 20, "noise": "gaussian"}
    space = {"kinds": ["variational"], "latents": [4], "dropouts": [0.2]}
    shop = Workshop(Setup("r", Spec("reconstruction", task), Spec("autoencoder", space), artifacts=str(tmp_path)))
    assert shop.space is not None
    candidate = shop.space.decisions.sample(Random(1))
    parent = Attempt(Trial(1, candidate, 1, 3))
    for attempt in (
        parent,
        Attempt(Trial(2, candidate, 3, 3, parent=1), 1, parent),
        Attempt(Trial(3, candidate, 3, 3)),
    ):
        assert shop.run(attempt, lambda _: None).outcome is Outcome.COMPLETED
    assert shop.artifacts is not None
    one, other = (load(shop.artifacts.get("r", trial, 1, "checkpoint.safetensors")).tensors for trial in (2, 3))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
