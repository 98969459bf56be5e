"""Auto-encoders: shapes, costs, and the variational ones' divergence, draw and bound against torch and closed forms."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from kept_bytes import kept_bytes
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.decision import DecisionError
from search_spaces.gan.autoencoder import AutoencoderSpace
from search_spaces.gan.autoencoder_network import Autoencoder, divergence
from search_spaces.space import Signature, UnfitError

PLAIN: dict[str, Any] = {
    "widths": [],
    "convolutional": False,
    "activation": "identity",
    "batch_norm": False,
    "dropout": 0.0,
}


def signature(*shape: int) -> Signature:
    return Signature("reconstruction", {"image": shape}, {"reconstruction": shape})


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5)])
@pytest.mark.parametrize("kind", ["dense", "deep", "convolutional", "variational"])
def test_descriptions_equal_what_torch_does(kind: str, shape: tuple[int, ...]) -> None:
    space = AutoencoderSpace(kinds=(kind,))
    for seed in range(6):
        candidate = space.decisions.sample(Random(seed))
        found = space.describe(candidate, signature(*shape))
        network = space.build(candidate, signature(*shape))
        assert found.parameters == sum(one.numel() for one in network.parameters())
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            network.eval()(torch.zeros(1, *shape))
        assert 2 * found.multiply_adds == flops.get_total_flops()
        assert found.activation_bytes == kept_bytes(network, shape)


def test_the_published_dense_and_convolutional_counts() -> None:
    """By hand: 784-30-784 with biases; and 3x3 convolutions of 8 and 16 filters around a code of 4."""
    space = AutoencoderSpace(kinds=("dense",), latents=(30,))
    found = space.describe(space.decisions.sample(Random(0)), signature(1, 28, 28))
    assert found.parameters == 784 * 30 + 30 + 30 * 784 + 784
    assert found.multiply_adds == 2 * 784 * 30
    body = {**PLAIN, "widths": [8, 16], "convolutional": True}
    network = Autoencoder((1, 8, 8), 4, body)
    encoder = (9 * 8 + 8) + (9 * 8 * 16 + 16) + (64 * 4 + 4)
    decoder = (4 * 64 + 64) + (9 * 16 * 8 + 8) + (9 * 8 + 1)
    assert sum(one.numel() for one in network.parameters()) == encoder + decoder


def test_codes_are_what_is_decoded() -> None:
    torch.manual_seed(0)
    image = torch.rand(3, 1, 8, 8)
    plain = Autoencoder((1, 8, 8), 4, {**PLAIN, "widths": [16]}).eval()
    (code,) = plain.encode(image)
    assert code.shape == (3, 4)
    assert torch.equal(plain.decode(code), plain(image))
    variational = Autoencoder((1, 8, 8), 4, {**PLAIN, "widths": [16]}, variational=True).eval()
    mean, log_variance = variational.encode(image)
    assert mean.shape == log_variance.shape == (3, 4)
    assert torch.equal(variational.decode(mean), variational(image))
    assert variational.divergence is None


def test_a_sigmoid_output_is_an_intensity_and_a_linear_one_is_not() -> None:
    torch.manual_seed(0)
    image = 20 * torch.randn(8, 1, 4, 4)
    found = Autoencoder((1, 4, 4), 2, PLAIN, output="sigmoid")(image).detach()
    assert 0 <= float(found.min()) < float(found.max()) <= 1
    assert float(Autoencoder((1, 4, 4), 2, PLAIN, output="linear")(image).detach().min()) < 0


def test_the_divergence_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(1)
    mean, log_variance = (torch.randn(5, 7, generator=generator) for _ in range(2))
    right = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, log_variance), right)


def test_a_draw_has_the_encoder_s_mean_and_deviation_and_passes_gradients() -> None:
    """The decoder here is the identity, so that what comes out is the code."""
    network = Autoencoder((1, 1, 2), 2, PLAIN, variational=True, output="linear").double()
    with torch.no_grad():
        network.encoder.to_code.weight.zero_()
        network.encoder.to_code.bias.copy_(torch.tensor([1.5, -0.5, 0.4, -2.0]))
        linear = network.decoder.layers[0]
        assert isinstance(linear, torch.nn.Linear)
        linear.weight.copy_(torch.eye(2))
        linear.bias.zero_()
    torch.manual_seed(3)
    drawn = network(torch.zeros(40_000, 1, 1, 2, dtype=torch.float64)).flatten(1)
    torch.testing.assert_close(drawn.mean(0), torch.tensor([1.5, -0.5]).double(), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.var(0), torch.tensor([0.4, -2.0]).double().exp(), rtol=0.03, atol=0)

    def squares(bias: Tensor) -> Tensor:
        """The mean square of draws with fixed noise, as a function of mean and log variance."""
        torch.manual_seed(4)
        state = {**dict(network.named_parameters()), "encoder.to_code.bias": bias}
        found: Tensor = torch.func.functional_call(network, state, torch.zeros(500, 1, 1, 2, dtype=torch.float64))
        return found.square().mean()

    bias = network.encoder.to_code.bias.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(squares(bias), bias)
    for place in range(4):
        step = 1e-6 * torch.eye(4, dtype=torch.float64)[place]
        slope = (squares(bias + step) - squares(bias - step)).detach() / 2e-6
        assert float(gradient[place]) == pytest.approx(float(slope), rel=1e-6)


def test_a_training_step_keeps_the_divergence_of_each_example() -> None:
    torch.manual_seed(0)
    network = Autoencoder((1, 4, 4), 3, {**PLAIN, "widths": [8]}, variational=True)
    image = torch.rand(5, 1, 4, 4)
    network(image)
    assert network.divergence is not None
    torch.testing.assert_close(network.divergence, divergence(*network.encode(image)))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(DecisionError, match="did you mean convolutional"):
        AutoencoderSpace(kinds=("convolution",))
    with pytest.raises(DecisionError, match="rising numbers"):
        AutoencoderSpace(latents=(8, 4))
    with pytest.raises(DecisionError, match=r"dropouts has 1\.0"):
        AutoencoderSpace(dropouts=(1.0,))
    with pytest.raises(UnfitError, match="has the image's shape"):
        AutoencoderSpace().check(Signature("reconstruction", {"image": (1, 8, 8)}, {"reconstruction": (3, 8, 8)}))
