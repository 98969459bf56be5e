"""Searched recurrent cells (Zoph & Le 2017; ENAS, Pham et al. 2018; DARTS, Liu et al. 2019) in a language model.

The decisions are those of the family that the option `cell` names:

| `cell` | decisions |
|---|---|
| `tree` | `tree_cells`: what every node of a balanced binary tree does, and the memory beside it |
| `graph` | `graph_cells`: what every node reads, and its activation |
| `gated` | `gated_cells`: any graph of linear maps, sums, products and activations, LSTM and GRU among them |
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate, Decisions
from search_spaces.rnn.cell_families import FAMILIES, cell_key
from search_spaces.rnn.cell_family import CellFamily, CellJson
from search_spaces.rnn.language_counts import describe
from search_spaces.rnn.published_cells import CELLS, language_blueprint
from search_spaces.space import Blueprint, Description, Signature, Space, require

OPTIONS = {
    "tree": ("base", "activations"),
    "graph": ("nodes", "output", "activations"),
    "gated": ("nodes", "states", "kinds"),
}


@final
@dataclass(frozen=True)
class RecurrentCellSpace(Space):
    """A cell, in `layers` layers of `hidden` units between an embedding and a decoder, for `language_model`.

    - `cell`: the family; `base`, the leaves of a tree (8); `nodes` (graph: 8, gated: 13; of several, cells have one);
      `output` of a graph: `mean` of all nodes, or `loose_ends`; `states` of a gated cell, at most (2); `activations`,
      and `kinds` of a gated cell's nodes, to choose from (all).
    - `hidden`, `embedding` (as `hidden`): sizes; `tied`: whether the decoder has the embedding's weights.
    - `dropout_embedding` drops words, `dropout_input` what a layer reads, `dropout_hidden` what it carries on,
      `dropout_output` what the decoder reads: probabilities.

    `smallest` and `grow` are there for graphs with several numbers of `nodes`.
    """

    cell: Literal["tree", "graph", "gated"] = "graph"
    base: int | None = None
    nodes: int | Sequence[int] | None = None
    output: Literal["mean", "loose_ends"] | None = None
    states: int | None = None
    activations: Sequence[str] | None = None
    kinds: Sequence[str] | None = None
    hidden: int = 128
    embedding: int | None = None
    layers: int = 1
    tied: bool = True
    dropout_embedding: float = 0.0
    dropout_input: float = 0.0
    dropout_hidden: float = 0.0
    dropout_output: float = 0.0

    def __post_init__(self) -> None:
        for name in ("nodes", "activations", "kinds"):
            if isinstance(value := getattr(self, name), Sequence):
                object.__setattr__(self, name, tuple(value))
        if self.cell not in FAMILIES:
            raise DecisionError(f"cell is {self.cell!r}, but must be one of {', '.join(FAMILIES)}")
        for name in ("base", "nodes", "output", "states", "activations", "kinds"):
            if getattr(self, name) is not None and name not in (own := OPTIONS[self.cell]):
                raise DecisionError(
                    f"{name} is no option of a {self.cell} cell, which has {', '.join(own)}: leave it out"
                )
        for name, size in (("hidden", self.hidden), ("layers", self.layers), ("embedding", self.embedding)):
            if size is not None and size < 1:
                raise DecisionError(f"{name} is {size}, but must be at least 1")
        for place, rate in self._dropouts.items():
            if not 0 <= rate < 1:
                raise DecisionError(
                    f"dropout_{place} is {rate}, but must be at least 0 and below 1: it is what is dropped"
                )
        _ = self.decisions

    @cached_property
    def decisions(self) -> Decisions:
        return Decisions(self.family.decisions)

    @cached_property
    def family(self) -> CellFamily:
        """The cells to choose from."""
        given = {name: getattr(self, name) for name in OPTIONS[self.cell] if getattr(self, name) is not None}
        return FAMILIES[self.cell](**given)

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        vocabulary = signature.vocabularies["tokens"]
        return language_blueprint(vocabulary, self.cell_of(candidate), self._sizes, self._dropouts, self.tied)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        return describe(self.blueprint(candidate, signature).arguments, signature.inputs["tokens"][0])

    def check(self, signature: Signature) -> None:
        require(self, signature, "language_model", {"tokens": 1}, {"logits": 2})

    def canonical(self, candidate: Candidate) -> Hashable:
        return cell_key(self.cell_of(candidate))

    def cell_of(self, candidate: Mapping[str, Any]) -> CellJson:
        """The cell of `candidate`, as its layer takes it."""
        return self.family.cell(candidate)

    def candidate_of(self, cell: CellJson | str) -> Candidate:
        """The candidate with this cell, or with the published one of this name; DecisionError where it is not here."""
        if isinstance(cell, str):
            if cell not in CELLS:
                raise DecisionError(f"{cell!r} is no published cell: there are {', '.join(CELLS)}")
            cell = CELLS[cell]
        if cell["family"] != self.cell:
            raise DecisionError(f"the cell is a {cell['family']} cell, but this space has {self.cell} cells")
        try:
            candidate = self.decisions.candidate(self.family.values(cell))
        except DecisionError as error:
            raise DecisionError(f"the cell is not in this space, {self}: {error}") from error
        if self.cell_of(candidate) != cell:
            raise DecisionError(f"the cell is not in this space, {self}, where it would be {self.cell_of(candidate)}")
        return candidate

    @property
    def progressive(self) -> bool:
        return self.cell == "graph" and len(self.family.sizes) > 1

    def smallest(self) -> Iterator[Candidate]:
        """The different cells of the least number of nodes, one by one."""
        return map(Candidate, self.family.smallest())

    def grow(self, candidate: Candidate) -> Iterator[Candidate]:
        """The different cells that have the next larger number of nodes and begin as `candidate` does, one by one."""
        further = {name: value for name, value in candidate.items() if name not in self.decisions}
        return (Candidate({**further, **values}) for values in self.family.grow(candidate))

    @property
    def _sizes(self) -> dict[str, int]:
        return {"embedding": self.embedding or self.hidden, "hidden": self.hidden, "layers": self.layers}

    @property
    def _dropouts(self) -> dict[str, float]:
        return {
            "embedding": self.dropout_embedding,
            "input": self.dropout_input,
            "hidden": self.dropout_hidden,
            "output": self.dropout_output,
        }
