"""The two large networks, with every weight and statistic at random, against timm's."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor

from search_spaces.cnn import published
from search_spaces.space import Blueprint

BRANCH = {  # timm's separable branch -> ours
    "separable_1.depthwise_conv2d": "1",
    "separable_1.pointwise_conv2d": "2",
    "bn_sep_1": "3",
    "separable_2.depthwise_conv2d": "5",
    "separable_2.pointwise_conv2d": "6",
    "bn_sep_2": "7",
}
REDUCTION = {"path_1.conv": "straight", "path_2.conv": "shifted", "final_path_bn": "norm"}
NASNET_CELLS = [
    *("cell_stem_0", "cell_stem_1"),
    *(f"cell_{i}" for i in range(6)),
    "reduction_cell_0",
    *(f"cell_{i}" for i in range(6, 12)),
    "reduction_cell_1",
    *(f"cell_{i}" for i in range(12, 18)),
]
PNASNET_CELLS = ["cell_stem_0", "cell_stem_1", *(f"cell_{i}" for i in range(12))]


def our_name(name: str, cells: list[str], stem: str) -> str:
    """Our name of a timm parameter or statistic."""
    owner, _, rest = name.partition(".")
    if owner == stem:
        return rest.replace("conv", "stem.0").replace("bn", "stem.1")
    if owner == "last_linear":
        return f"classifier.{rest}"
    start = f"cells.{cells.index(owner)}."
    if rest.startswith("comb_iter_"):
        part, _, inner = rest.removeprefix("comb_iter_").partition(".")
        block, half = part.split("_")
        return f"{start}blocks.{block}.{half}.{renamed(inner)}"
    if rest.startswith("conv_1x1."):
        return f"{start}adjust.{renamed(rest.removeprefix('conv_1x1.'))}"
    return f"{start}adjust_previous.{renamed(rest.removeprefix('conv_prev_1x1.'))}"


def renamed(inner: str) -> str:
    """Our name of what is inside one operation: numbered in sequences, named in factorized reductions."""
    module, _, tensor = inner.rpartition(".")
    plain = {"conv": "1", "bn": "2"}
    return f"{(BRANCH | REDUCTION | plain)[module]}.{tensor}"


def randomised(tensor: Tensor, name: str, generator: torch.Generator) -> Tensor:
    """Weights that keep the scale of the map, and statistics and shifts that are neither 0 nor 1."""
    if not tensor.is_floating_point():
        return torch.zeros_like(tensor, device="cpu")
    if tensor.dim() > 1:
        return torch.randn(tensor.shape, generator=generator).mul((1.5 / tensor[0].numel()) ** 0.5)
    uniform: Tensor = torch.rand(tensor.shape, generator=generator)
    return uniform - 0.5 if name.endswith(("bias", "running_mean")) else uniform + 0.5


@pytest.mark.parametrize(
    ("model", "blueprint", "cells", "stem"),
    [
        ("nasnetalarge", published.nasnet_a_large(size=69, code="timm"), NASNET_CELLS, "conv0"),
        ("pnasnet5large", published.pnasnet_5_large(size=69), PNASNET_CELLS, "conv_0"),
    ],
)
def test_features_and_logits_equal_timm(model: str, blueprint: Blueprint, cells: list[str], stem: str) -> None:
    with torch.device("meta"):  # every tensor is assigned below
        theirs = timm.create_model(model, pretrained=False).eval()
        ours = blueprint.build().eval()
    generator = torch.Generator().manual_seed(7)
    state = {name: randomised(tensor, name, generator) for name, tensor in theirs.state_dict().items()}
    theirs.load_state_dict(state, assign=True)
    ours.load_state_dict({our_name(name, cells, stem): tensor for name, tensor in state.items()}, assign=True)
    image = torch.randn(1, 3, 69, 76, generator=generator)  # maps of even and of odd sizes
    seen: list[Tensor] = []
    ours.activation.register_forward_hook(lambda _module, _inputs, output: seen.append(output))  # type: ignore[union-attr]
    with torch.inference_mode():
        features = theirs.forward_features(image)
        logits = theirs.forward_head(features)
        assert features.std() > 1e-3
        assert difference(ours(image), logits) < 1e-4
    assert difference(seen[0], features) < 1e-4


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())
