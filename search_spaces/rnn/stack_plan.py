"""StackPlan: recurrent layers one above the other as data, and how wide each of them is; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass(frozen=True)
class StackPlan:
    """Embedded tokens through `layers` recurrent layers of `hidden` units, in each direction.

    `unit`: `rnn`, `lstm`, `gru`, `peephole_lstm`, or `searched`: the cell that `cell` describes. `connection` between a
    layer's input and its output, from the second layer on: `none`, `residual` or `highway`. `pyramidal`: between two
    layers neighbouring steps become one, twice as wide. `dropout`: the probability to drop a feature of what a layer
    reads, and of what is read from the last, in all steps of a sequence alike; `embedding_dropout`: to drop a word of
    the vocabulary.
    """

    embedding: int
    hidden: int
    layers: int
    unit: str
    bidirectional: bool = False
    connection: str = "none"
    pyramidal: bool = False
    dropout: float = 0.0
    embedding_dropout: float = 0.0
    cell: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Features of each step behind a layer."""
        return self.hidden * (2 if self.bidirectional else 1)

    def inputs(self, layer: int) -> int:
        """Features that a layer (counted from 0) reads of each step."""
        return self.embedding if layer == 0 else self.outputs * (2 if self.pyramidal else 1)
