"""Counts taken from a network itself, against closed forms and against the spaces that compute theirs."""

from __future__ import annotations

from random import Random
from typing import final

import pytest
from torch import nn

from search_spaces.cnn.darts import DartsSpace
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Signature, Space, UnfitError

IMAGES = Signature("image_classification", {"image": (3, 16, 16)}, {"logits": (10,)})


@final
class Dense(Space):
    """A space of a user's own, which knows no more than how to build."""

    @property
    def decisions(self) -> Decisions:
        return Decisions({"width": Choice((8, 16))})

    def build(self, candidate: Candidate, signature: Signature) -> nn.Module:
        width = int(candidate["width"])
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, width), nn.ReLU(), nn.Linear(width, 10))


def test_a_space_that_only_builds_is_described() -> None:
    described = Dense().describe(Candidate({"width": 8}), IMAGES)
    assert described.parameters == 768 * 8 + 8 + 8 * 10 + 10
    assert described.multiply_adds == 768 * 8 + 8 * 10
    assert described.activation_bytes == 4 * (768 + 8 + 8 + 10)


def test_a_task_that_names_no_inputs_needs_a_space_that_describes() -> None:
    with pytest.raises(UnfitError, match=r"names no inputs.*write the space's `describe`"):
        Dense().describe(Candidate({"width": 8}), Signature("function"))


def test_a_space_that_builds_nothing_says_what_it_lacks() -> None:
    with pytest.raises(NotImplementedError, match="neither blueprint nor build"):
        Space.build(Dense(), Candidate({"width": 8}), IMAGES)


@pytest.mark.parametrize("space", [PnasSpace(cells=1, filters=8), DartsSpace(cells=3, filters=8)])
def test_measured_equals_computed(space: Space) -> None:
    candidate = space.decisions.sample(Random(0))
    computed, measured = space.describe(candidate, IMAGES), Space.describe(space, candidate, IMAGES)
    assert (measured.parameters, measured.multiply_adds) == (computed.parameters, computed.multiply_adds)


def test_recurrent_layers_count_every_step() -> None:
    from search_spaces.measuring import measured

    sequence = Signature("language_model", {"tokens": (5, 7)}, {"state": (5, 6)})
    described = measured(nn.LSTM(7, 6, batch_first=True), sequence)
    assert described.multiply_adds == 5 * 4 * (7 * 6 + 6 * 6)
