"""CellSpace: what the spaces of stacked cells share, from a candidate's cells to the whole network."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.cells import Cell
from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Description, Signature, Space

KNOWN_OPERATIONS = (
    "none",
    "identity",
    "convolution_1x1",
    "convolution_3x3",
    "factorized_3x3",
    "factorized_7x7",
    "dilated_3x3",
    "dilated_separable_3x3",
    "dilated_separable_5x5",
    "separable_3x3",
    "separable_5x5",
    "separable_7x7",
    "average_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
)


@dataclass(frozen=True)
class CellSpace(Space):
    """Options of a network of stacked cells for `image_classification`."""

    operations: Sequence[str] = ()
    cells: int = 2
    filters: int = 24

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))
        for operation in self.operations:
            if operation not in KNOWN_OPERATIONS:
                near = difflib.get_close_matches(operation, KNOWN_OPERATIONS, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise DecisionError(f"{operation!r} is no operation: {hint}there are {', '.join(KNOWN_OPERATIONS)}")

    @abstractmethod
    def cells_of(self, candidate: Candidate) -> dict[str, Cell]:
        """The cells that `candidate` describes, by kind."""

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        raise NotImplementedError

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        raise NotImplementedError
