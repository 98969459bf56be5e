"""Networks that translate images: their published counts, their patches, and their costs against torch's own."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from kept_bytes import kept_bytes
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.decision import Choice, DecisionError
from search_spaces.decisions import Candidate, Decisions
from search_spaces.gan.image_translation import ImageTranslationSpace
from search_spaces.gan.patch_discriminators import DomainDiscriminator, PatchDiscriminator
from search_spaces.gan.translation_network import TranslationNetwork
from search_spaces.gan.translators import UNet, told
from search_spaces.inputs import noise
from search_spaces.space import Signature, UnfitError

METHODS = Decisions({"method": Choice(("pix2pix", "cyclegan", "discogan"))})


def signature(image: tuple[int, ...], channels: int, domains: int = 0) -> Signature:
    told = {"domain": ()} if domains else {}
    known = {"domain": domains} if domains else {}
    return Signature("image_translation", {"image": image, **told}, {"translated": (channels, *image[1:])}, known)


def parameters(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def published(kind: str, norm: str, conditional: bool, image: tuple[int, ...], domains: int = 0) -> TranslationNetwork:
    values: dict[str, Any] = {
        "generator": kind,
        "width": 64,
        "discriminator_width": 64,
        "norm": norm,
        "dropout": 0.5 if kind == "unet" else 0.0,
        **({"blocks": 6 if domains else 9} if kind == "residual" else {}),
        **({"conditional": True} if conditional else {}),
    }
    with torch.device("meta"):
        network = ImageTranslationSpace().build(Candidate(values), signature(image, 3, domains))
    assert isinstance(network, TranslationNetwork)
    return network


def test_pix2pix_has_its_published_size() -> None:
    """54.414 M and 2.769 M, as the authors' PyTorch code prints for 256x256, batch norm and 64 filters.

    For grey images of 256x256 it prints 54.408 M and 2.765 M, for those of 64x64, with 2 layers in the discriminator,
    29.238 M and 0.662 M (junyanz/pytorch-CycleGAN-and-pix2pix, issue 1152).
    """
    network = published("unet", "batch", True, (3, 256, 256))
    assert parameters(network.generator) == 54_413_955
    assert parameters(network.discriminator) == 2_768_705
    for side, layers, printed in ((256, 3, ["54.408", "2.765"]), (64, 2, ["29.238", "0.662"])):
        values: dict[str, Any] = {"conditional": True, "generator": "unet", "width": 64, "discriminator_width": 64}
        values |= {"norm": "batch", "dropout": 0.5, "discriminator_layers": layers}
        with torch.device("meta"):
            grey = ImageTranslationSpace().build(Candidate(values), signature((1, side, side), 1))
        assert isinstance(grey, TranslationNetwork)
        assert [f"{parameters(one) / 1e6:.3f}" for one in (grey.generator, grey.discriminator)] == printed


def test_cyclegan_has_its_published_size() -> None:
    """11,378,179 and 2.765 M (as the same repository prints them)."""
    network = published("residual", "instance", False, (3, 256, 256))
    assert parameters(network.generator) == 11_378_179
    assert parameters(network.discriminator) == 2_764_737


def test_stargan_has_its_published_size() -> None:
    """8,430,528 and 44,762,048, as the authors' code prints for 128x128 and 5 domains (yunjey/stargan)."""
    network = published("residual", "instance", False, (3, 128, 128), domains=5)
    assert parameters(network.generator) == 8_430_528
    assert parameters(network.discriminator) == 44_762_048


def test_three_layers_judge_patches_of_70_by_70() -> None:
    """The pixels that the gradient of one score reaches (Isola et al. 2017: a 70x70 PatchGAN)."""
    torch.manual_seed(0)
    for layers, side in ((1, 16), (2, 34), (3, 70)):
        network = PatchDiscriminator(1, 2, layers, norm="none").double()
        image = torch.zeros(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
        scores = network(image)
        middle = scores.shape[2] // 2
        (slope,) = torch.autograd.grad(scores[0, 0, middle, middle], image)
        rows, columns = slope[0, 0].nonzero().unbind(1)
        assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == side


@pytest.mark.parametrize(("image", "channels", "domains"), [((1, 8, 8), 1, 0), ((1, 17, 22), 3, 0), ((3, 9, 12), 3, 4)])
@pytest.mark.parametrize("kind", ["unet", "encoder_decoder", "residual"])
def test_descriptions_equal_what_torch_does(kind: str, image: tuple[int, ...], channels: int, domains: int) -> None:
    space = ImageTranslationSpace(
        generators=(kind,), blocks=(1, 2), widths=(4, 6), discriminator_widths=(4,), norms=("batch", "instance", "none")
    )
    asked = signature(image, channels, domains)
    table = space.decisions if domains else space.decisions | METHODS
    for seed in range(6):
        candidate = table.sample(Random(seed))
        found, network = space.describe(candidate, asked), space.build(candidate, asked)
        assert found.parameters == parameters(network)
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            network.eval()(*noise(asked, 1, torch.Generator()))
        assert 2 * found.multiply_adds == flops.get_total_flops()
        if not domains and candidate["norm"] != "instance":  # torch computes the latter by copies of its statistics
            assert found.activation_bytes == kept_bytes(network.generator, image)  # type: ignore[arg-type]


def test_a_method_decides_how_many_networks_there_are() -> None:
    space = ImageTranslationSpace(blocks=(1,), widths=(4,), discriminator_widths=(4,), conditional=(False, True))
    table = space.decisions | METHODS
    seen = set()
    for seed in range(40):
        candidate = table.sample(Random(seed))
        network = space.build(candidate, signature((1, 8, 8), 3))
        assert isinstance(network, TranslationNetwork)
        paired = candidate["method"] == "pix2pix"
        assert (network.back is None) == (network.back_discriminator is None) == paired
        first = next(network.discriminator.parameters())
        assert first.shape[1] == 3 + (1 if candidate.get("conditional", False) else 0)
        if network.back is not None:
            assert network.back(network(torch.rand(2, 1, 8, 8))).shape == (2, 1, 8, 8)
        seen.add((candidate["method"], candidate.get("conditional")))
    assert seen == {("pix2pix", True), ("pix2pix", False), ("cyclegan", None), ("discogan", None)}


def test_a_domain_is_a_plane_of_ones() -> None:
    image = torch.rand(2, 3, 4, 4)
    found = told(image, torch.tensor([2, 0]), 3)
    assert torch.equal(found[:, :3], image)
    assert found[:, 3:].mean((2, 3)).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert torch.equal(told(image, None, 3), image)


def test_the_two_answers_of_a_domain_discriminator_fit_its_patches() -> None:
    network = DomainDiscriminator(3, 4, 2, 5, (12, 9))
    scores, domains = network.both(torch.rand(2, 3, 12, 9))
    assert (scores.shape, domains.shape) == ((2, 1, 3, 2), (2, 5))


def test_skips_carry_what_the_bottom_does_not() -> None:
    """Without its bottom a U-Net still answers to its image; without skips it does not."""
    for skips in (True, False):
        torch.manual_seed(0)
        network = UNet((1, 8, 8), 1, [4, 8, 16], norm="none", skips=skips).eval()
        with torch.no_grad():
            for weight in network.down[-1].parameters():
                weight.zero_()
            one, other = network(torch.zeros(1, 1, 8, 8)), network(torch.ones(1, 1, 8, 8))
        assert torch.equal(one, other) is not skips


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_the_smallest_images_can_be_learned_from(norm: str) -> None:
    """No inner map is so small that its normalisation or its mirrored border fails in training."""
    for kind in ("unet", "residual"):
        space = ImageTranslationSpace(generators=(kind,), blocks=(1,), widths=(4,), norms=(norm,))
        for asked in (signature((1, 6, 6), 1), signature((1, 6, 6), 1, domains=2)):
            network = space.build(space.decisions.sample(Random(0)), asked).train()
            assert isinstance(network, TranslationNetwork)
            inputs = noise(asked, 2, torch.Generator().manual_seed(0))
            network.discriminator(network(*inputs)).mean().backward()


def test_what_does_not_fit_is_refused_with_a_remedy() -> None:
    space = ImageTranslationSpace()
    with pytest.raises(UnfitError, match="keep height and width"):
        space.check(Signature("image_translation", {"image": (1, 8, 8)}, {"translated": (1, 16, 16)}))
    with pytest.raises(UnfitError, match="at least 6 pixels"):
        space.check(signature((1, 4, 4), 1))
    with pytest.raises(UnfitError, match="name smaller depths"):
        ImageTranslationSpace(depths=(2, 4)).check(signature((1, 8, 8), 1))
    with pytest.raises(UnfitError, match="behind 1 at most"):
        ImageTranslationSpace(discriminator_layers=(1, 3)).check(signature((1, 8, 8), 1))
    with pytest.raises(DecisionError, match="halves an image twice at least"):
        ImageTranslationSpace(depths=(1, 2))
    with pytest.raises(DecisionError, match="did you mean residual"):
        ImageTranslationSpace(generators=("residuals",))
