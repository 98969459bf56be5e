"""The families of recurrent cells by name, and what is known of any cell."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from search_spaces.decision import DecisionError
from search_spaces.decisions import Decisions
from search_spaces.rnn.cell_family import CellCosts, CellFamily, CellJson
from search_spaces.rnn.gated_cells import GatedCells
from search_spaces.rnn.graph_cells import GraphCells
from search_spaces.rnn.tree_cells import TreeCells
from search_spaces.space import Graph

FAMILIES: Mapping[str, type[CellFamily]] = {"tree": TreeCells, "graph": GraphCells, "gated": GatedCells}


def require_cell(cell: CellJson) -> None:
    """Raise, DecisionError or what reading it raises, unless a search of `recurrent_cell` could have found `cell`."""
    size = len(cell["nodes"])
    family: CellFamily
    match cell["family"]:
        case "tree":
            family = TreeCells((size + 1) // 2)
        case "graph":
            family = GraphCells(size, output="mean" if len(cell["output"]) == size else "loose_ends")
        case "gated":
            family = GatedCells(size, len(cell["states"]))
        case other:
            raise DecisionError(f"family is {other!r}, but must be one of {', '.join(FAMILIES)}")
    found = family.cell(Decisions(family.decisions).candidate(family.values(cell)))
    if found != cell:
        raise DecisionError(f"it would be {found}")


def cell_key(cell: CellJson) -> Hashable:
    """What two cells share exactly when they are equal up to the order of their parts."""
    return cell["family"], FAMILIES[cell["family"]].key(cell)


def cell_costs(cell: CellJson, inputs: int, hidden: int) -> CellCosts:
    """What a layer of `cell` costs that reads `inputs` numbers at each step."""
    return FAMILIES[cell["family"]].costs(cell, inputs, hidden)


def cell_drawing(cell: CellJson) -> Graph:
    """One step of `cell`."""
    return FAMILIES[cell["family"]].drawing(cell)
