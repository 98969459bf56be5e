"""Published networks have exactly the published code's numbers of parameters; counts and networks agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from search_spaces.cnn import cell_counts, layouts, published
from search_spaces.space import Blueprint

COUNTS = {
    published.nasnet_a_cifar: 3_346_538,
    published.nasnet_a_mobile: 5_289_978,
    published.nasnet_a_large: 88_753_150,
    published.pnasnet_5_cifar: 3_189_082,
    published.pnasnet_5_large: 86_057_668,
    published.darts_v2_cifar: 3_349_342,
    published.amoebanet_a_cifar: 3_145_078,
}
HEADS = {published.nasnet_a_cifar: 1_631_498, published.darts_v2_cifar: 476_426}


def on_meta(blueprint: Blueprint) -> nn.Module:
    with torch.device("meta"):
        return blueprint.build()


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("network", COUNTS, ids=lambda network: network.__name__)
def test_parameters(network: Callable[..., Blueprint]) -> None:
    blueprint = network()
    assert count(on_meta(blueprint)) == COUNTS[network]
    assert cell_counts.describe(blueprint.arguments).parameters == COUNTS[network]


@pytest.mark.parametrize("network", HEADS, ids=lambda network: network.__name__)
def test_the_auxiliary_head_adds_what_is_published(network: Callable[..., Blueprint]) -> None:
    blueprint = network(auxiliary=True)
    assert count(on_meta(blueprint)) == COUNTS[network] + HEADS[network]
    assert cell_counts.describe(blueprint.arguments).parameters == COUNTS[network] + HEADS[network]


def test_multiply_adds_of_the_mobile_network_are_those_of_the_paper() -> None:
    """564 million (Zoph et al. 2018, table 3)."""
    assert round(cell_counts.describe(published.nasnet_a_mobile().arguments).multiply_adds / 1e6) == 564


def test_a_stem_of_48_filters_is_not_pnasnet() -> None:
    options = {"stem_filters": 48}
    layout = layouts.replaced(3, 48, 2, imagenet=False)
    narrow = published.network_blueprint((3, 32, 32), 10, published.PNASNET_5, layout, options)
    assert count(on_meta(narrow)) == 3_155_194


@pytest.mark.parametrize("network", COUNTS, ids=lambda network: network.__name__)
def test_features_are_as_wide_as_the_names_say(network: Callable[..., Blueprint]) -> None:
    widths = {
        published.nasnet_a_cifar: 768,
        published.nasnet_a_mobile: 1056,
        published.nasnet_a_large: 4032,
        published.pnasnet_5_large: 4320,
    }
    blueprint = network()
    built = on_meta(blueprint).eval()
    image = torch.zeros(2, *blueprint.arguments["image"], device="meta")
    assert built(image).shape == (2, blueprint.arguments["classes"])
    if network in widths:
        assert built.features(image).shape[1] == widths[network]  # type: ignore[operator]


def test_the_large_network_hands_a_reduction_s_previous_map_on() -> None:
    """Counts cannot see it: with and without, NASNet-A large has the same number of parameters."""
    rows = layouts.inserted(6, 168, 2, imagenet=True, hand_on=True).rows
    plain = layouts.inserted(6, 168, 2, imagenet=True).rows
    first, second = (index for index, row in enumerate(rows) if row.kind == "reduction" and index > 1)
    for reduction in (first, second):
        assert rows[reduction + 1].previous == rows[reduction].previous
        assert plain[reduction + 1].previous == plain[reduction].current


def test_pnasnet_has_nine_cells_and_nasnet_twenty() -> None:
    assert [row.stride for row in layouts.replaced(3, 48, 2, imagenet=False).rows] == [1, 1, 1, 2, 1, 1, 2, 1, 1]
    assert len(layouts.inserted(6, 32, 2, imagenet=False).rows) == 20
    darts = layouts.spread(20, 36, 2).rows
    assert [index for index, row in enumerate(darts) if row.stride == 2] == [6, 13]
    assert [darts[i].filters for i in (5, 6, 13, 19)] == [36, 72, 144, 144]
