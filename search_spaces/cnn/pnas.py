"""PNAS (Liu et al. 2018): one cell of 1 to 5 blocks, 8 operations, grown block by block.

Decisions, for block b = 1, 2, ..., active when `blocks` >= b:

| name | value |
|---|---|
| `blocks` | how many blocks the cell has |
| `block<b>_input1`, `block<b>_input2` | the state read: 0 previous cell, 1 the one before, 2 block 1, ... b block b-1 |
| `block<b>_operation1`, `block<b>_operation2` | the operation applied to it, one of the option `operations` |

The two results are added; the outputs of all blocks that no block reads are concatenated. There is no second kind of
cell: where the map is halved, the same cell has stride 2.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

from search_spaces.cnn.cell_space import CellSpace
from search_spaces.cnn.cells import INPUTS, Block, BlockTokens, Cell, Wiring, canonical_key, expansions
from search_spaces.cnn.layouts import Layout, replaced
from search_spaces.decision import Choice, Decision, DecisionError, When
from search_spaces.decisions import Candidate, Decisions

OPERATIONS = (
    "identity",
    "separable_3x3",
    "separable_5x5",
    "separable_7x7",
    "factorized_7x7",
    "average_pool_3x3",
    "max_pool_3x3",
    "dilated_3x3",
)


@final
@dataclass(frozen=True)
class PnasSpace(CellSpace):
    """One cell, stacked `cells` times per stage; 5.6e14 ordered cells of five blocks.

    `blocks` is the largest number of blocks, `operations` what a half block can be; the other options are
    `CellSpace`'s. Integer forms for surrogates, without a Candidate per cell: `wiring`, `expansions`, `extend`, `key`.
    """

    blocks: int = 5
    operations: Sequence[str] = OPERATIONS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blocks < 1:
            raise DecisionError(f"blocks is {self.blocks}, but a cell has at least 1")

    @cached_property
    def decisions(self) -> Decisions:
        table: dict[str, Decision] = {"blocks": Choice(tuple(range(1, self.blocks + 1)))}
        for block in range(1, self.blocks + 1):
            when = When.at_least("blocks", block) if block > 1 else None
            inputs = Choice(tuple(range(INPUTS + block - 1)), when)
            operations = Choice(tuple(self.operations), when)
            names = block_names(block)
            table |= dict(zip(names, (inputs, operations, inputs, operations), strict=True))
        return Decisions(table)

    @property
    def progressive(self) -> bool:
        return True

    def smallest(self) -> Iterator[Candidate]:
        """The different cells of one block: 136 with 8 operations, 36 with 4."""
        for tokens in expansions(INPUTS, len(self.operations)):
            yield self.candidate_of((tokens,))

    def grow(self, candidate: Candidate) -> Iterator[Candidate]:
        """Every cell that has one block more: 300 for a cell of one block, 1,176 for one of four (8 operations)."""
        for tokens in self.expansions(candidate):
            yield self.extend(candidate, tokens)

    def expansions(self, candidate: Candidate) -> Sequence[BlockTokens]:
        """The blocks that `grow` would add, as integers; equal for all candidates of the same size."""
        count = int(candidate["blocks"])
        return expansions(INPUTS + count, len(self.operations)) if count < self.blocks else ()

    def extend(self, candidate: Candidate, tokens: BlockTokens) -> Candidate:
        """`candidate` with one more block; further decisions that it has (a task's) stay."""
        block = int(candidate["blocks"]) + 1
        return Candidate({**candidate, "blocks": block, **self._values(block, tokens)})

    def wiring(self, candidate: Candidate) -> tuple[BlockTokens, ...]:
        """`candidate` in integers, one `(input1, operation1, input2, operation2)` per block."""
        index = self._index
        return tuple(
            (candidate[i1], index[candidate[o1]], candidate[i2], index[candidate[o2]])  # type: ignore[misc]
            for i1, o1, i2, o2 in self._names[: int(candidate["blocks"])]
        )

    def candidate_of(self, wiring: Wiring) -> Candidate:
        """The candidate with this wiring; inverse of `wiring`."""
        values: dict[str, str | int | float | bool] = {"blocks": len(wiring)}
        for block, tokens in enumerate(wiring, start=1):
            values |= self._values(block, tokens)
        return Candidate(values)

    def key(self, wiring: Wiring) -> Hashable:
        """`canonical` of the candidate with this wiring."""
        return canonical_key(wiring)

    def canonical(self, candidate: Candidate) -> Hashable:
        return canonical_key(self.wiring(candidate))

    def cells_of(self, candidate: Candidate) -> dict[str, Cell]:
        cell = Cell.of(
            [
                Block(self.operations[operation1], input1, self.operations[operation2], input2)
                for input1, operation1, input2, operation2 in self.wiring(candidate)
            ]
        )
        return {"cell": cell}

    @cached_property
    def layout(self) -> Layout:
        return replaced(self.cells, self.filters, self.reductions, self.stem == "imagenet")

    @cached_property
    def _index(self) -> dict[object, int]:
        return {operation: index for index, operation in enumerate(self.operations)}

    @cached_property
    def _names(self) -> tuple[tuple[str, str, str, str], ...]:
        return tuple(block_names(block) for block in range(1, self.blocks + 1))

    def _values(self, block: int, tokens: BlockTokens) -> dict[str, str | int]:
        input1, operation1, input2, operation2 = tokens
        values = (input1, self.operations[operation1], input2, self.operations[operation2])
        return dict(zip(block_names(block), values, strict=True))


def block_names(block: int) -> tuple[str, str, str, str]:
    """The names of the four decisions of a block (counted from 1), in the table's order."""
    start = f"block{block}_"
    return f"{start}input1", f"{start}operation1", f"{start}input2", f"{start}operation2"
