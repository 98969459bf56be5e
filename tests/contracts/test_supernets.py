"""What every space whose children share weights promises of the names: over all such spaces in the folder."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
import torch

from search_spaces.cnn.nasnet import NasnetSpace
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decisions import Candidate
from search_spaces.space import Signature, Space
from search_spaces.supernet import Share
from workers.plugins import available, load

SIGNATURE = Signature("image_classification", {"image": (3, 64, 64)}, {"logits": (10,)})
SPACES = sorted(available("search_spaces", Space))
SHAREABLE = [name for name in SPACES if load("search_spaces", name, Space)().shareable]
STACKS: dict[str, dict[str, Any]] = {  # options that change how cells are stacked, and what reads which map
    "darts": {"cells": 5, "filters": 4},
    "nasnet": {"cells": 2, "filters": 4},
    "pnas": {"cells": 2, "filters": 8, "stem": "imagenet"},
}
CODE = """
import json, random, sys
import torch
from search_spaces.space import Signature, Space
from workers.plugins import load
space = load("search_spaces", sys.argv[1], Space)()
candidate = space.decisions.sample(random.Random(5))
signature = Signature("image_classification", {"image": (3, 64, 64)}, {"logits": (10,)})
blueprint = space.blueprint(candidate, signature)
with torch.device("meta"):
    parameters = [name for name, _ in blueprint.build().named_parameters()]
print(json.dumps([list(share.names) for share in space.shares(blueprint, parameters).values()]))
"""


@dataclass(frozen=True)
class Child:
    """The shapes of a child's parameters, and their shares."""

    shapes: dict[str, tuple[int, ...]]
    shares: dict[str, Share]

    def pieces(self) -> dict[str, tuple[int, ...]]:
        """The tensors of the supernet that it uses, with the shapes that they have."""
        found: dict[str, tuple[int, ...]] = {}
        for parameter, share in self.shares.items():
            shape = self.shapes[parameter]
            if not share.sizes:
                found[share.names[0]] = shape
            for name, size in zip(share.names, share.sizes, strict=False):
                found[name] = (shape[0], size, *shape[2:])
        return found


def child(space: Space, candidate: Candidate) -> Child:
    blueprint = space.blueprint(candidate, SIGNATURE)
    with torch.device("meta"):
        shapes = {name: tuple(weight.shape) for name, weight in blueprint.build().named_parameters()}
    return Child(shapes, dict(space.shares(blueprint, shapes)))


@pytest.fixture(params=[(name, stack) for name in SHAREABLE for stack in (False, True)], ids=str)
def children(request: pytest.FixtureRequest) -> list[Child]:
    name, stacked = request.param
    space: Space = load("search_spaces", name, Space)(**(STACKS[name] if stacked else {"auxiliary": True}))
    generator = Random(name)
    return [child(space, space.decisions.sample(generator)) for _ in range(12)]


def test_the_cell_spaces_have_supernets() -> None:
    assert set(SHAREABLE) == {"darts", "nasnet", "pnas"}


def test_every_parameter_is_in_the_supernet_and_pieces_cover_it(children: list[Child]) -> None:
    for one in children:
        assert one.shares.keys() == one.shapes.keys()
        for parameter, share in one.shares.items():
            assert share.names
            if share.sizes:
                assert len(share.sizes) == len(share.names)
                assert sum(share.sizes) == one.shapes[parameter][1]
            else:
                assert len(share.names) == 1


def test_no_tensor_is_used_twice_in_one_network(children: list[Child]) -> None:
    for one in children:
        names = [name for share in one.shares.values() for name in share.names]
        assert len(set(names)) == len(names)


def test_equal_names_mean_equal_shapes_whatever_the_child(children: list[Child]) -> None:
    known: dict[str, tuple[int, ...]] = {}
    for one in children:
        for name, shape in one.pieces().items():
            assert known.setdefault(name, shape) == shape


def test_children_share_and_do_not_share_everything(children: list[Child]) -> None:
    first, second = set(children[0].pieces()), set(children[1].pieces())
    assert first & second
    assert first - second
    stem = {name for name in first if name.startswith("stem.")}
    assert stem <= second


@pytest.mark.parametrize("name", SHAREABLE)
def test_names_are_the_same_in_another_process(name: str) -> None:
    told = [
        subprocess.run([sys.executable, "-c", CODE, name], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert told[0] == told[1]
    assert len(json.loads(told[0])) > 10


def test_a_block_that_does_the_same_twice_has_two_tensors_for_it() -> None:
    """As in the stand-alone network, whose halves begin differently."""
    space = PnasSpace(blocks=1)
    candidate = space.candidate_of([(0, 1, 0, 1)])
    one = child(space, candidate)
    names = [name for share in one.shares.values() for name in share.names]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("space", [PnasSpace(), NasnetSpace(combine=("add",))], ids=["pnas", "nasnet"])
def test_a_network_whose_halves_are_swapped_uses_the_same_tensors(space: Space) -> None:
    """The halves of a block are added, in whatever order."""
    for seed in range(5):
        candidate = space.decisions.sample(Random(seed))
        sides = {"input1": "input2", "input2": "input1", "operation1": "operation2", "operation2": "operation1"}
        swapped = {}
        for name, value in candidate.json().items():
            start, _, end = name.rpartition("_")
            swapped[f"{start}_{sides[end]}" if end in sides else name] = value
        assert set(child(space, Candidate(swapped)).pieces()) == set(child(space, candidate).pieces())
