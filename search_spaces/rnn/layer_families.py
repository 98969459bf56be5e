"""A recurrent layer from plain JSON: which class each family of cells is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from search_spaces.rnn.gated_layer import GatedLayer
from search_spaces.rnn.graph_layer import GraphLayer
from search_spaces.rnn.recurrent_layer import RecurrentLayer
from search_spaces.rnn.tree_layer import TreeLayer

FAMILIES: dict[str, Callable[..., RecurrentLayer]] = {
    "tree": TreeLayer,
    "graph": GraphLayer,
    "gated": GatedLayer,
}


def recurrent_layer(cell: Mapping[str, Any], inputs: int, hidden: int, dropout: float = 0.0) -> RecurrentLayer:
    """The layer of `cell`, which names its `family`; the rest is as the family's class says."""
    return FAMILIES[cell["family"]](cell, inputs, hidden, dropout)
