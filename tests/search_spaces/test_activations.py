from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from search_spaces.activations import ACTIVATIONS, replace_relu
from search_spaces.space import Blueprint
from workers.image_recipe import ACTIVATIONS as OFFERED


def test_every_relu_is_replaced_and_no_weight_is_renamed() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    network = nn.Sequential(first, nn.ReLU(), nn.Sequential(second, nn.ReLU()))
    names = list(network.state_dict())
    inputs = torch.randn(5, 3)
    hidden = functional.silu(first(inputs))
    expected = functional.silu(second(hidden))
    replace_relu(network, "silu")
    torch.testing.assert_close(network(inputs), expected)
    assert list(network.state_dict()) == names


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_activation_has_weights(name: str) -> None:
    assert not ACTIVATIONS[name]().state_dict()


def test_the_recipe_offers_what_there_is() -> None:
    assert tuple(ACTIVATIONS) == OFFERED  # the recipe's module imports no torch, so the names stand in both


def test_a_blueprint_builds_with_its_activation() -> None:
    built = Blueprint("torch.nn:ReLU", {}, activation="relu").build()
    assert isinstance(built, nn.ReLU)
    arguments = {"d_model": 4, "nhead": 1, "dim_feedforward": 4, "activation": nn.ReLU(), "batch_first": True}
    layer = Blueprint("torch.nn:TransformerEncoderLayer", arguments, activation="gelu").build()
    assert isinstance(layer.activation, nn.GELU)
