"""One recurrent layer in the same language model: torch's LSTM, or any graph cell."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, Literal, final

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.rnn.recurrent_cell import RecurrentCellSpace
from search_spaces.rnn.recurrent_stack import RecurrentStackSpace
from search_spaces.space import Blueprint, Description, Signature, Space

DROPOUTS = (0.0, 0.1, 0.2, 0.3)


@final
@dataclass(frozen=True)
class FramedCells(Space):
    """Both have the decision `dropout`, of what the layer reads and gives; `graph` those of a cell of `nodes`, too.

    Embedding and layer are `hidden` wide, the decoder's weights are the embedding's. Graph cells of equally many
    nodes have equally many parameters.
    """

    unit: Literal["lstm", "graph"] = "lstm"
    hidden: int = 64
    nodes: int = 8

    @cached_property
    def cells(self) -> RecurrentCellSpace:
        return RecurrentCellSpace(cell="graph", nodes=self.nodes, hidden=self.hidden)

    @cached_property
    def decisions(self) -> Decisions:
        own = Decisions({"dropout": Choice(DROPOUTS)})
        return own if self.unit == "lstm" else own | self.cells.decisions

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        stack, only = self._framed(candidate)
        return stack.blueprint(only, signature)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        stack, only = self._framed(candidate)
        return stack.describe(only, signature)

    def check(self, signature: Signature) -> None:
        self.cells.check(signature)

    def canonical(self, candidate: Candidate) -> Hashable:
        return candidate["dropout"], None if self.unit == "lstm" else self.cells.canonical(candidate)

    def _framed(self, candidate: Candidate) -> tuple[RecurrentStackSpace, Candidate]:
        """A space that has this network alone, and its candidate there."""
        unit: dict[str, Any] = {"units": ["lstm"]}
        if self.unit == "graph":
            unit = {"units": ["searched"], "cell": self.cells.cell_of(candidate)}
        stack = RecurrentStackSpace(
            for_task="language_model",
            layers=[1],
            hidden=[self.hidden],
            embedding=[self.hidden],
            dropout=[float(candidate["dropout"])],
            embedding_dropout=[0.0],
            tied=[True],
            **unit,
        )
        return stack, stack.decisions.sample(Random(0))
