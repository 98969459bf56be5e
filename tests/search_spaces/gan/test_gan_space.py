"""The table of the gan space: keys, growth by stages, what it refuses."""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import Any

import pytest
import torch
from built_gans import built

from nas.cli.picture import draw
from search_spaces.decision import Choice, DecisionError
from search_spaces.decisions import Candidate, Decisions
from search_spaces.gan.cell_generator import CellGenerator
from search_spaces.gan.gan import GanSpace
from search_spaces.gan.objectives import ENERGIES, SCORES
from search_spaces.gan.published_gans import AUTOGAN, DCGAN
from search_spaces.space import Signature, UnfitError

DIGITS = Signature("image_generation", {"noise": (6,)}, {"image": (1, 8, 8)})
IMAGES = Signature("image_generation", {"noise": (6,), "label": ()}, {"image": (3, 16, 16)}, {"label": 3})


def under(space: GanSpace, *objectives: str) -> Decisions:
    """The space's decisions beside those of a task with these objectives."""
    return Decisions({"objective": Choice(objectives)}) | space.decisions


def test_the_discriminator_s_kind_is_decided_where_the_objective_needs_a_score() -> None:
    space = GanSpace()
    for objective in SCORES + ENERGIES:
        candidate = under(space, objective).sample(Random(0))
        assert ("discriminator" in candidate) == (objective in SCORES)
        assert space.build(candidate, DIGITS).reconstructs == (objective in ENERGIES)
    assert space.build(space.decisions.sample(Random(0)), DIGITS).reconstructs


@pytest.mark.parametrize(("space", "candidate"), [(GanSpace(stages=(4,)), DCGAN)])
def test_published_pairs_are_points(space: GanSpace, candidate: Candidate) -> None:
    assert under(space, "minimax").candidate({"objective": "minimax", **candidate})
    autogans = GanSpace(stages=(1, 2, 3), widths=(256,), discriminator_widths=(0.5,))
    assert under(autogans, "hinge").candidate({"objective": "hinge", **AUTOGAN})


def test_keys_are_equal_exactly_where_the_blueprints_are() -> None:
    space = GanSpace(stages=(1, 2), widths=(4, 5), discriminator_widths=(0.5, 0.6, 1.0), generators=("cells", "plain"))
    table, generator = under(space, "hinge", "energy_based"), Random(3)
    known: dict[Any, Any] = {}
    shared = 0
    for _ in range(300):
        candidate = table.sample(generator)
        for one in (candidate, table.mutate(candidate, generator)):
            key, network = space.canonical(one), space.blueprint(one, DIGITS)
            shared += key in known
            assert known.setdefault(key, network) == network
    networks = [repr(network) for network in known.values()]
    assert len(set(networks)) == len(networks)
    assert shared


def test_decisions_that_change_nothing_are_not_in_the_key() -> None:
    space = GanSpace(stages=(1,), widths=(4,), discriminator_widths=(0.5, 0.6), discriminators=("cells",))
    candidate = under(space, "hinge").sample(Random(0))
    for name, values in (("discriminator_pool", ("average", "max")), ("discriminator_width", (0.5, 0.6))):
        assert len({space.canonical(Candidate({**candidate, name: value})) for value in values}) == 1
    other = Candidate({**candidate, "discriminator_norm": "batch"})
    assert space.canonical(other) != space.canonical(Candidate({**other, "discriminator_norm": "none"}))


def test_the_smallest_have_one_cell_of_every_kind() -> None:
    space = GanSpace(stages=(1, 2, 3), discriminator_norms=("batch",))
    first = list(space.smallest())
    assert len({space.canonical(one) for one in first}) == len(first) == 1 + 2 * 3 * 3 * 2
    assert all(one["stages"] == 1 and space.decisions.candidate(one) == one for one in first)


def test_growing_adds_a_cell_with_all_it_may_skip_from() -> None:
    space = GanSpace(stages=(1, 2, 3), discriminator_norms=("batch",))
    one = under(space, "hinge").sample(Random(1))
    one = Candidate({**{n: v for n, v in one.items() if "stage" not in n}, "generator": "cells", "stages": 1})
    one = under(space, "hinge").complete({**one}, Random(1))
    two = list(space.grow(one))
    assert len({space.canonical(candidate) for candidate in two}) == len(two) == 36 * 2
    three = list(space.grow(two[-1]))
    assert len(three) == 36 * 4
    for parent, children in ((one, two), (two[-1], three)):
        for child in children:
            assert {**child, **parent, "stages": child["stages"]} == dict(child)
            assert under(space, "hinge").candidate(child) == child
    assert not list(space.grow(three[0]))
    plain = Candidate({**{n: v for n, v in one.items() if "stage1" not in n}, "generator": "plain"})
    assert [candidate["stages"] for candidate in space.grow(plain)] == [2]


@pytest.mark.parametrize("kind", ["plain", "cells"])
@pytest.mark.parametrize("condition", ["concatenate", "norm"])
def test_a_grown_pair_holds_the_tensors_of_what_it_grew_from(kind: str, condition: str) -> None:
    space = GanSpace(stages=(1, 2, 3), generators=(kind,), widths=(4,), condition=condition)
    table, generator = under(space, "hinge", "energy_based"), Random(2)
    for stages in (1, 2):
        for _ in range(3):
            parent = table.complete({"stages": stages}, generator)
            before = space.build(parent, IMAGES).state_dict()
            grown = list(space.grow(parent))
            for child in islice(generator.sample(grown, len(grown)), 6):
                after = space.build(child, IMAGES).state_dict()
                lost = [
                    name for name, tensor in before.items() if name not in after or after[name].shape != tensor.shape
                ]
                assert lost == (["generator.image.weight"] if kind == "plain" else [])


def test_an_heir_s_first_cells_make_of_a_noise_what_those_of_its_parent_made() -> None:
    space = GanSpace(stages=(1, 2), generators=("cells",), widths=(4,))
    parent = under(space, "hinge").complete({"stages": 1}, Random(0))
    child = next(iter(space.grow(parent)))
    old, new = (built(space, candidate, DIGITS).eval() for candidate in (parent, child))
    new.load_state_dict(old.state_dict(), strict=False)
    seen: list[torch.Tensor] = []
    for network in (old, new):
        assert isinstance(network.generator, CellGenerator)
        network.generator.stages[0].register_forward_hook(lambda _, __, output: seen.append(output[1]))
        network(torch.ones(2, 6))
    assert torch.equal(*seen)


def test_a_candidate_of_a_search_is_drawn_with_what_hangs_on_the_task() -> None:
    space = GanSpace()
    candidate = under(space, "hinge").complete({"generator": "plain", "discriminator": "cells"}, Random(0))
    picture = draw("one", space, candidate.json(), DIGITS)
    assert {**picture.candidate, "objective": "hinge"} == candidate
    assert picture.description == space.describe(candidate, DIGITS)
    with pytest.raises(DecisionError, match="discriminator is 'none'"):
        draw("one", space, {**candidate, "discriminator": "none"}, DIGITS)
    with pytest.raises(DecisionError, match="stage1_norm is given, but is not active"):
        draw("one", space, {**candidate, "stage1_norm": "none"}, DIGITS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": []}, "stages is"),
        ({"stages": [2, 1]}, "rising"),
        ({"stages": [0]}, "from 1 on"),
        ({"widths": [0]}, "widths"),
        ({"generators": ["cell"]}, "did you mean cells"),
        ({"discriminators": []}, "at least one"),
        ({"discriminator_norms": ["instance"]}, "there are batch, spectral, none"),
        ({"discriminator_widths": [0.0]}, "above 0"),
        ({"discriminator_dropouts": [1.0]}, "below 1"),
        ({"pools": ["mean"]}, "average"),
        ({"code": 0}, "at least 1"),
        ({"further_cells": 0}, "at least 1"),
        ({"condition": "embed"}, "concatenate"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        GanSpace(**options)


@pytest.mark.parametrize(
    ("image", "stages", "message"),
    [
        ((1, 28, 28), (3,), r"set stages to \[2\] or fewer"),
        ((1, 8, 8), (3,), r"set stages to \[2\] or fewer"),
        ((3, 27, 28), (1,), "choose another size"),
        ((3, 2, 2), (1,), "choose another size"),
        ((3, 64, 24), (1, 4), r"set stages to \[3\] or fewer"),
    ],
)
def test_images_that_cannot_be_halved_are_refused(image: tuple[int, int, int], stages: Any, message: str) -> None:
    with pytest.raises(UnfitError, match=message):
        GanSpace(stages=stages).check(Signature("image_generation", {"noise": (6,)}, {"image": image}))


def test_a_label_of_no_known_classes_is_refused() -> None:
    with pytest.raises(UnfitError, match="choose another task"):
        GanSpace().check(Signature("image_generation", {"noise": (6,), "label": ()}, {"image": (1, 8, 8)}))
