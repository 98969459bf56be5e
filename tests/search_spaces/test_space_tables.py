"""The published spaces have the published tables; keys ignore what makes no difference; bad options are named."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.cnn.darts import DartsSpace
from search_spaces.cnn.layers import LayersSpace
from search_spaces.cnn.nasnet import NasnetSpace
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decision import DecisionError
from search_spaces.space import Signature, Space, UnfitError


def images(*shape: int) -> Signature:
    return Signature("image_classification", {"image": shape}, {"logits": (10,)})


def test_tables_have_the_published_sizes() -> None:
    assert len(NasnetSpace().decisions) == 50  # the controller's predictions (Zoph et al. 2018)
    assert NasnetSpace(blocks=1).decisions.size() == (2 * 2 * 13 * 13 * 2) ** 2
    ordered = [(b + 1) ** 2 * 8**2 for b in range(1, 6)]
    product, total = 1, 0
    for block in ordered:
        product *= block
        total += product
    assert PnasSpace().decisions.size() == total
    assert round(product / 1e14, 1) == 5.6  # Liu et al. 2018
    assert DartsSpace().decisions.size() == (1 * 3 * 6 * 10 * 8**8) ** 2
    published = LayersSpace(depths=(15,))
    assert published.decisions.size() == (4 * 4 * 4) ** 15 * 2 ** (15 * 14 // 2)
    strided = LayersSpace(depths=(2,), strides=(1, 2, 3))
    assert strided.decisions.size() == (4 * 4 * 4 * 9) ** 2 * 2


def test_nodes_of_darts_read_two_different_states() -> None:
    generator, space = Random(0), DartsSpace()
    for _ in range(50):
        for cell in space.cells_of(space.decisions.sample(generator)).values():
            assert all(block.input1 != block.input2 for block in cell.blocks)
            assert cell.concat == (2, 3, 4, 5)


def test_what_none_would_have_read_makes_no_difference() -> None:
    space = DartsSpace(nodes=2)
    values = dict(space.decisions.sample(Random(1)))
    values |= {"normal_node2_operation1": "none", "normal_node2_operation2": "identity"}
    first = space.decisions.candidate({**values, "normal_node2_inputs": "0+2"})
    second = space.decisions.candidate({**values, "normal_node2_inputs": "1+2"})
    assert space.canonical(first) == space.canonical(second)
    assert space.describe(first, images(3, 8, 8)).parameters == space.describe(second, images(3, 8, 8)).parameters


@given(st.integers(0, 10_000))
def test_swapped_halves_and_combinations_in_nasnet(seed: int) -> None:
    space = NasnetSpace(blocks=2, operations=("identity", "separable_3x3"))
    candidate = dict(space.decisions.sample(Random(seed)))
    start = "reduction_block2_"
    swapped = {
        **candidate,
        f"{start}input1": candidate[f"{start}input2"],
        f"{start}input2": candidate[f"{start}input1"],
        f"{start}operation1": candidate[f"{start}operation2"],
        f"{start}operation2": candidate[f"{start}operation1"],
    }
    other = {**candidate, f"{start}combine": "add" if candidate[f"{start}combine"] == "concat" else "concat"}
    key = space.canonical(space.decisions.candidate(candidate))
    assert space.canonical(space.decisions.candidate(swapped)) == key
    assert space.canonical(space.decisions.candidate(other)) != key


def test_a_cell_and_its_copy_in_the_other_place_differ() -> None:
    space = NasnetSpace(blocks=1)
    candidate = space.decisions.sample(Random(3))
    exchanged = {
        name.replace("normal", "x").replace("reduction", "normal").replace("x_", "reduction_"): value
        for name, value in candidate.items()
    }
    assert space.canonical(space.decisions.candidate(exchanged)) != space.canonical(candidate)


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        (PnasSpace, {"operations": ["identity", "seperable_3x3"]}, "did you mean separable_3x3"),
        (PnasSpace, {"operations": []}, "must name at least one"),
        (PnasSpace, {"operations": ["identity", "identity"]}, "none twice"),
        (PnasSpace, {"blocks": 0}, "blocks is 0"),
        (PnasSpace, {"stem": "mnist"}, "must be one of cifar, imagenet"),
        (PnasSpace, {"filters": 0}, "filters is 0"),
        (PnasSpace, {"drop_path": 1.0}, "drop_path is 1.0.*it is what is dropped"),
        (PnasSpace, {"dropout": 1.0}, "it is what is dropped"),
        (PnasSpace, {"stem_multiplier": 0}, "without filters"),
        (NasnetSpace, {"combine": ["multiply"]}, "add and concat"),
        (DartsSpace, {"cells": 2}, "above reductions"),
        (DartsSpace, {"stem": "imagenet"}, "only cifar"),
        (DartsSpace, {"nodes": 0}, "nodes is 0"),
        (LayersSpace, {"depths": []}, "rising numbers"),
        (LayersSpace, {"depths": [6, 4]}, "rising numbers"),
        (LayersSpace, {"kernels": [2]}, "is odd"),
        (LayersSpace, {"pooling": [1]}, "from 2 to 15"),
    ],
)
def test_bad_options_are_named(space: type[Space], options: dict[str, Any], message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        space(**options)


@pytest.mark.parametrize(
    ("space", "image", "message"),
    [
        (PnasSpace(reductions=4), (1, 8, 8), "set reductions below 4"),
        (PnasSpace(stem="imagenet"), (3, 9, 9), "or stem: cifar"),
        (PnasSpace(stem="imagenet", filters=22), (3, 224, 224), "multiple of 4"),
        (PnasSpace(auxiliary=True), (1, 8, 8), "set auxiliary: false"),
        (PnasSpace(auxiliary=True, reductions=0), (3, 32, 32), "there is no reduction"),
        (LayersSpace(pooling=(2, 4, 6, 8)), (1, 8, 8), "fewer layers in pooling"),
        (PnasSpace(), (8, 8), "choose another space or task"),
    ],
)
def test_images_that_do_not_fit_are_refused_with_a_remedy(space: Space, image: tuple[int, ...], message: str) -> None:
    with pytest.raises(UnfitError, match=message):
        space.check(images(*image))


def test_odd_filters_are_fine_where_nothing_halves_them() -> None:
    PnasSpace(filters=5).check(images(1, 8, 8))
    NasnetSpace(filters=5, reductions=0).check(images(1, 8, 8))


def test_options_from_a_job_file_are_lists() -> None:
    assert PnasSpace(operations=["identity"]) == PnasSpace(operations=("identity",))
    assert LayersSpace(depths=[6, 8]) == LayersSpace(depths=(6, 8))
