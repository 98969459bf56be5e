"""Networks built from random candidates cost what `describe` says, and drop paths as published."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from random import Random

import pytest
import torch
from costs import measure
from torch import Tensor, nn

from search_spaces.cnn import published
from search_spaces.cnn.cell_network import CellNetwork, drop_path
from search_spaces.cnn.darts import DartsSpace
from search_spaces.cnn.layer_network import joined
from search_spaces.cnn.layers import LayersSpace
from search_spaces.cnn.layouts import inserted
from search_spaces.cnn.nasnet import NasnetSpace
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.space import Signature, Space


@dataclass(frozen=True)
class Case:
    """A space with options, and the images to build for."""

    space: Space
    image: tuple[int, int, int]

    @property
    def signature(self) -> Signature:
        return Signature("image_classification", {"image": self.image}, {"logits": (7,)})


CASES = {
    "digits": Case(PnasSpace(cells=1), (1, 8, 8)),
    "digits with one reduction": Case(PnasSpace(cells=1, reductions=1, filters=5), (1, 8, 8)),
    "uneven with a head": Case(PnasSpace(cells=1, filters=4, auxiliary=True, drop_path=0.5), (3, 21, 33)),
    "imagenet": Case(PnasSpace(cells=1, filters=4, stem="imagenet", stem_multiplier=0.25), (3, 65, 44)),
    "nasnet": Case(NasnetSpace(cells=1, filters=4, reductions=1), (1, 9, 8)),
    "nasnet imagenet": Case(
        NasnetSpace(cells=1, filters=4, reductions=1, stem="imagenet", stem_multiplier=0.25), (3, 32, 33)
    ),
    "darts": Case(DartsSpace(cells=4, filters=2), (3, 8, 8)),
    "darts with a head": Case(DartsSpace(cells=3, filters=2, auxiliary=True), (1, 20, 20)),
    "layers": Case(LayersSpace(depths=(4, 7), filters=(4, 6), strides=(1, 2, 3), pooling=(2, 4)), (3, 11, 16)),
    "layers in a row": Case(LayersSpace(depths=(5,), skip_connections=False), (1, 8, 8)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_descriptions_equal_networks(case: Case) -> None:
    generator = Random(11)
    for _ in range(3):
        candidate = case.space.decisions.sample(generator)
        described = case.space.describe(candidate, case.signature)
        measured = measure(case.space.build(candidate, case.signature), case.image)
        assert described.parameters == measured.parameters
        assert described.multiply_adds == measured.multiply_adds
        assert described.activation_bytes == measured.activation_bytes


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_parameter_can_learn(case: Case) -> None:
    """No weights are carried along that the output does not depend on (unless a `none` cuts them off)."""
    generator = Random(12)
    candidate = case.space.decisions.sample(generator)
    while "none" in candidate.values():
        candidate = case.space.decisions.sample(generator)
    network = case.space.build(candidate, case.signature).train()
    outputs = [network(torch.randn(3, *case.image))]
    if getattr(network, "auxiliary_logits", None) is not None:
        outputs.append(network.auxiliary_logits)
    sum(output.square().sum() for output in outputs).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def small(**options: float | str | bool) -> CellNetwork:
    blueprint = published.network_blueprint(
        (1, 16, 16),
        10,
        published.NASNET_A,
        inserted(1, 8, 2, imagenet=False),
        {"stem_filters": 8, **options},
    )
    network = blueprint.build()
    assert isinstance(network, CellNetwork)
    return network


def test_drop_path_zeroes_whole_examples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropped = drop_path(torch.ones(4000, 3, 2, 2), 0.25)
    values = dropped.flatten(1)
    assert torch.equal(values, values[:, :1].expand_as(values))
    assert sorted(set(values[:, 0].tolist())) == pytest.approx([0.0, 1 / 0.75])
    assert values.mean() == pytest.approx(1.0, abs=0.05)


def test_the_drop_rate_rises_with_the_cells_and_with_progress() -> None:
    network = small(drop_path=0.4)
    assert [network.drop_rate(index) for index in (0, 4)] == [0.0, 0.0]
    network.progress = 0.5
    assert [network.drop_rate(index) for index in range(5)] == pytest.approx(
        [0.4 * 0.5 * (i + 1) / 5 for i in range(5)]
    )
    darts = published.darts_v2_cifar()
    with torch.device("meta"):
        same = darts.build()
    assert isinstance(same, CellNetwork)
    same.progress = 0.5
    assert same.drop_rate(0) == same.drop_rate(19) == pytest.approx(0.1)


def test_paths_are_dropped_in_training_only() -> None:
    torch.manual_seed(0)
    network = small(drop_path=0.8).eval()
    network.progress = 1.0
    image = torch.randn(4, 1, 16, 16)
    assert torch.equal(network(image), network(image))
    for layer in network.modules():  # so that only dropping can make a difference
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.0
    network.train()
    assert not torch.equal(network(image), network(image))
    network.progress = 0.0
    assert torch.equal(network(image), network(image))


def test_identities_are_never_dropped() -> None:
    network = small()
    blocks = [block for cell in network.cells for block in cell.blocks]  # type: ignore[union-attr]
    for block, data in zip(blocks[:5], published.NASNET_A["normal"].blocks, strict=True):
        assert (block.drop_left, block.drop_right) == (data.operation1 != "identity", data.operation2 != "identity")


def test_an_auxiliary_head_speaks_in_training_only() -> None:
    network = small(auxiliary=True)
    network(torch.randn(2, 1, 16, 16))
    assert network.auxiliary_logits is not None
    assert network.auxiliary_logits.shape == (2, 10)
    assert copy.deepcopy(network).auxiliary_logits is None
    network.eval()(torch.randn(2, 1, 16, 16))
    assert network.auxiliary_logits is None


def test_inputs_of_different_sizes_are_joined_on_the_larger() -> None:
    whole = joined([torch.ones(1, 2, 4, 4), torch.ones(1, 1, 2, 3)])
    assert whole.shape == (1, 3, 4, 4)
    corner: Tensor = whole[0, 2]
    assert corner[:2, :3].sum() == corner.sum() == 6


def test_a_seed_gives_the_same_network() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(small().state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
