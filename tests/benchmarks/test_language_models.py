"""The three ways have equally large networks, and what is said of them is Student's."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from language_models import ALIKE, WAYS, Setting, alike, measure, parameters

from search_spaces.space import Signature
from workers.plugins import Spec
from workers.workshop import space_of

CHARACTERS = Signature("language_model", {"tokens": (32,)}, {"logits": (32, 66)}, {"tokens": 66})


@pytest.mark.parametrize("hidden", [32, 64, 128])
def test_both_units_have_equally_many_parameters(hidden: int) -> None:
    wanted = parameters("graph", hidden, CHARACTERS)
    assert abs(parameters("lstm", alike(hidden, CHARACTERS), CHARACTERS) / wanted - 1) <= ALIKE


def test_every_graph_cell_has_as_many_parameters_as_the_network_that_is_built() -> None:
    wanted = parameters("graph", 16, CHARACTERS)
    space, generator = space_of(Spec("framed_cells:FramedCells", {"unit": "graph", "hidden": 16})), Random(1)
    for _ in range(5):
        built = space.build(space.decisions.sample(generator), CHARACTERS)
        assert sum(weight.numel() for weight in built.parameters()) == wanted


@pytest.mark.slow
def test_each_way_is_searched_trained_again_and_tested(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("to be or not to be, that is the question\n" * 200)
    setting = Setting(str(tmp_path / "text"), characters=3000, trials=2, longer=2, hidden=32)
    found = measure(setting, [0], tmp_path / "journal")
    assert list(found) == list(WAYS)
    assert all(0 < one.test < 6.1 for runs in found.values() for one in runs)
    assert measure(setting, [0], tmp_path / "journal") == found  # from the journal
