"""The families of recurrent cells by name, and what is known of any cell."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from search_spaces.rnn.cell_family import CellCosts, CellFamily, CellJson
from search_spaces.rnn.gated_cells import GatedCells
from search_spaces.rnn.graph_cells import GraphCells
from search_spaces.rnn.tree_cells import TreeCells
from search_spaces.space import Graph

FAMILIES: Mapping[str, type[CellFamily]] = {"tree": TreeCells, "graph": GraphCells, "gated": GatedCells}


def cell_key(cell: CellJson) -> Hashable:
    """What two cells share exactly when they are equal up to the order of their parts."""
    return cell["family"], FAMILIES[cell["family"]].key(cell)


def cell_costs(cell: CellJson, inputs: int, hidden: int) -> CellCosts:
    """What a layer of `cell` costs that reads `inputs` numbers at each step."""
    return FAMILIES[cell["family"]].costs(cell, inputs, hidden)


def cell_drawing(cell: CellJson) -> Graph:
    """One step of `cell`."""
    return FAMILIES[cell["family"]].drawing(cell)
