"""DCGAN and AutoGAN as published: counts, and the outputs of networks written down independently, weights copied."""

from __future__ import annotations

import pytest
import torch
from built_gans import built
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.decisions import Candidate
from search_spaces.gan.gan import GanSpace
from search_spaces.gan.published_gans import AUTOGAN, DCGAN
from search_spaces.space import Signature

FACES = Signature("image_generation", {"noise": (100,)}, {"image": (3, 64, 64)})
CIFAR = Signature("image_generation", {"noise": (128,)}, {"image": (3, 32, 32)})
DCGANS = GanSpace(stages=(4,), discriminator_norms=("batch",))
AUTOGANS = GanSpace(stages=(1, 2, 3), widths=(16, 256), discriminator_widths=(0.5, 1.0))


def sizes(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def dcgan_generator() -> nn.Sequential:
    """As the paper's figure 1 has it, with 64 filters before the image."""
    return nn.Sequential(
        *(nn.ConvTranspose2d(100, 512, 4, 1, 0, bias=False), nn.BatchNorm2d(512), nn.ReLU()),
        *(nn.ConvTranspose2d(512, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU()),
        *(nn.ConvTranspose2d(256, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU()),
        *(nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh()),
    )


def dcgan_discriminator() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(128, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(256, 512, 4, 2, 1, bias=False), nn.BatchNorm2d(512), nn.LeakyReLU(0.2)),
        nn.Conv2d(512, 1, 4, 1, 0, bias=False),
    )


def copied(source: nn.Module, target: nn.Module) -> None:
    """Copy all tensors in their order in the network: convolutions first, then normalisations, as in each network."""
    for kind in ((nn.Conv2d, nn.ConvTranspose2d), (nn.BatchNorm2d,)):
        left, right = ([m for m in one.modules() if isinstance(m, kind)] for one in (source, target))
        for one, other in zip(left, right, strict=True):
            other.load_state_dict(one.state_dict())


def test_dcgan_has_the_published_parameters_and_layers() -> None:
    network = built(DCGANS, DCGAN, FACES)
    assert sizes(network.generator) == 3_576_704
    assert sizes(network.discriminator) == 2_765_568
    described = DCGANS.describe(DCGAN, FACES)
    assert described.parameters == 3_576_704 + 2_765_568
    by_layer = [100 * 512 * 16, 512 * 256 * 16 * 16, 256 * 128 * 16 * 64, 128 * 64 * 16 * 256, 64 * 3 * 16 * 1024]
    assert described.multiply_adds == sum(by_layer)
    assert not any("bias" in name for name, _ in network.named_parameters() if "norms" not in name)
    assert not any(isinstance(layer, nn.Linear | nn.MaxPool2d | nn.AvgPool2d) for layer in network.modules())


@pytest.mark.parametrize("training", [False, True])
def test_dcgan_answers_as_the_one_written_down_here(training: bool) -> None:
    torch.manual_seed(0)
    network = built(DCGANS, DCGAN, FACES).train(training)
    generator, discriminator = dcgan_generator().train(training), dcgan_discriminator().train(training)
    copied(network.generator, generator)
    copied(network.discriminator, discriminator)
    noise = torch.randn(2, 100)
    image = network(noise)
    torch.testing.assert_close(image, generator(noise[:, :, None, None]))
    torch.testing.assert_close(network.discriminator(image), discriminator(image).flatten(), rtol=1e-4, atol=1e-6)


def test_dcgan_begins_with_normal_weights() -> None:
    torch.manual_seed(0)
    network = built(DCGANS, DCGAN, FACES)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 5000:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert abs(layer.weight.mean().item()) < 1e-3
        elif isinstance(layer, nn.BatchNorm2d) and layer.num_features == 512:
            assert layer.weight.mean().item() == pytest.approx(1.0, abs=0.005)


def test_autogan_has_the_parameters_of_the_published_layers() -> None:
    """Summed up by hand: the linear layer, cells, shortcuts, skips, the image; the discriminator's cells."""
    network = built(AUTOGANS, AUTOGAN, CIFAR)
    cell, pointwise = 2 * (256 * 256 * 9 + 256), 256 * 256 + 256
    expected = 129 * 4 * 4 * 256 + 3 * cell + 2 * pointwise + 3 * pointwise + 2 * 256 + (256 * 27 + 3)
    assert sizes(network.generator) == expected == 4_405_251
    narrow, wide = 128 * 128 * 9 + 128, 128 * 128 + 128
    first = (3 * 128 * 9 + 128) + narrow + (3 * 128 + 128)
    assert sizes(network.discriminator) == first + (2 * narrow + wide) + 4 * narrow + 128 == 1_053_824
    assert AUTOGANS.describe(AUTOGAN, CIFAR).parameters == 4_405_251 + 1_053_824


def autogan(weights: dict[str, Tensor], noise: Tensor) -> Tensor:
    """The first generator that AutoGAN found for CIFAR-10, as its authors publish it, on tensors of ours."""

    def conv(name: str, image: Tensor) -> Tensor:
        weight = weights[f"{name}.weight"]
        return functional.conv2d(image, weight, weights[f"{name}.bias"], padding=weight.shape[2] // 2)

    def larger(image: Tensor, mode: str, factor: int = 2) -> Tensor:
        return functional.interpolate(image, scale_factor=float(factor), mode=mode)

    start = functional.linear(noise, weights["start.weight"], weights["start.bias"]).view(len(noise), -1, 4, 4)
    inner1 = conv("stages.0.first", larger(start.relu(), "nearest"))
    cell1 = conv("stages.0.second", inner1.relu()) + conv("stages.0.shortcut.1", larger(start, "nearest"))
    inner2 = conv("stages.1.first", larger(cell1.relu(), "bilinear"))
    inner2 = inner2 + conv("stages.1.skips.1.1", larger(inner1, "bilinear"))
    cell2 = conv("stages.1.second", inner2.relu()) + conv("stages.1.shortcut.1", larger(cell1, "bilinear"))
    inner3 = conv("stages.2.first", larger(cell2.relu(), "nearest"))
    inner3 = inner3 + conv("stages.2.skips.1.1", larger(inner1, "nearest", 4))
    inner3 = inner3 + conv("stages.2.skips.2.1", larger(inner2, "nearest"))
    cell3 = conv("stages.2.second", inner3.relu())
    mean, variance, weight, bias = (
        weights[f"norm.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return conv("image", functional.batch_norm(cell3, mean, variance, weight, bias).relu()).tanh()


def test_autogan_answers_as_the_one_written_down_here() -> None:
    torch.manual_seed(0)
    values = AUTOGANS.decisions.candidate(
        {
            name: value
            for name, value in {**AUTOGAN, "width": 16}.items()
            if name not in ("discriminator", "discriminator_pool")
        }
    )
    generator = built(AUTOGANS, values, CIFAR).generator.eval()
    noise = torch.randn(3, 128)
    torch.testing.assert_close(generator(noise), autogan(generator.state_dict(), noise))


def test_autogan_s_discriminator_answers_as_the_one_written_down_here() -> None:
    """Residual cells of Miyato et al. (2018): two that halve, two that do not, a sum, a linear layer."""
    torch.manual_seed(0)
    space = GanSpace(stages=(3,), widths=(8,), discriminator_norms=("none",))
    values = {**AUTOGAN, "width": 8, "discriminator_width": 1.0, "discriminator_norm": "none"}
    network = built(space, Candidate(values), CIFAR).discriminator.eval()
    weights: dict[str, Tensor] = network.state_dict()

    def conv(name: str, image: Tensor) -> Tensor:
        weight = weights[f"encoder.cells.{name}.weight"]
        return functional.conv2d(image, weight, weights[f"encoder.cells.{name}.bias"], padding=weight.shape[2] // 2)

    image = torch.randn(3, 3, 32, 32)
    seen = functional.avg_pool2d(conv("0.second", conv("0.first", image).relu()), 2)
    seen = seen + functional.avg_pool2d(conv("0.shortcut", image), 2)
    inner = functional.avg_pool2d(conv("1.second", conv("1.first", seen.relu()).relu()), 2)
    seen = inner + functional.avg_pool2d(conv("1.shortcut", seen), 2)
    for number in (2, 3):
        seen = seen + conv(f"{number}.second", conv(f"{number}.first", seen.relu()).relu())
    score = (seen.relu().sum(dim=(2, 3)) * weights["score.weight"]).sum(dim=1)
    torch.testing.assert_close(network(image), score, rtol=1e-4, atol=1e-5)
