"""NASNet (Zoph et al. 2018): a normal and a reduction cell of 5 blocks each, 13 operations.

Decisions, for each kind of cell (`normal`, then `reduction`) and each block b, in the order of the paper's controller:

| name | value |
|---|---|
| `<kind>_block<b>_input1`, `<kind>_block<b>_input2` | the state read: 0 previous cell, 1 the one before, 2 block 1 |
| `<kind>_block<b>_operation1`, `<kind>_block<b>_operation2` | the operation applied to it |
| `<kind>_block<b>_combine` | `add` or `concat` |

The outputs of all blocks that no block reads are concatenated.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

from search_spaces.cnn.cell_space import CellSpace
from search_spaces.cnn.cells import INPUTS, Block, Cell, canonical_key
from search_spaces.cnn.layouts import Layout, inserted
from search_spaces.decision import Choice, Decision, DecisionError
from search_spaces.decisions import Candidate, Decisions

OPERATIONS = (
    "identity",
    "factorized_3x3",
    "factorized_7x7",
    "dilated_3x3",
    "average_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
    "convolution_1x1",
    "convolution_3x3",
    "separable_3x3",
    "separable_5x5",
    "separable_7x7",
)
KINDS = ("normal", "reduction")


@final
@dataclass(frozen=True)
class NasnetSpace(CellSpace):
    """Two cells of `blocks` blocks, 50 decisions for five; `cells` normal cells per stage, a reduction cell between.

    `combine`: how a block may combine its two results. The other options are `CellSpace`'s.
    """

    operations: Sequence[str] = OPERATIONS
    filters: int = 32
    blocks: int = 5
    combine: Sequence[Literal["add", "concat"]] = ("add", "concat")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "combine", tuple(self.combine))
        if self.blocks < 1:
            raise DecisionError(f"blocks is {self.blocks}, but a cell has at least 1")
        if not self.combine or not set(self.combine) <= {"add", "concat"}:
            raise DecisionError(f"combine is {list(self.combine)}, but may only hold add and concat")

    @cached_property
    def decisions(self) -> Decisions:
        operations, combine = Choice(tuple(self.operations)), Choice(tuple(self.combine))
        table: dict[str, Decision] = {}
        for kind in KINDS:
            for block, names in enumerate(self._names[kind], start=1):
                inputs = Choice(tuple(range(INPUTS + block - 1)))
                table |= dict(zip(names, (inputs, inputs, operations, operations, combine), strict=True))
        return Decisions(table)

    def canonical(self, candidate: Candidate) -> Hashable:
        index: Mapping[Any, int] = self._index
        combine: Mapping[Any, int] = self._combine
        keys = []
        for names in self._names.values():
            wiring = [(candidate[i], index[candidate[o]], candidate[j], index[candidate[p]]) for i, j, o, p, _ in names]
            keys.append(canonical_key(wiring, [combine[candidate[c]] for *_, c in names]))  # type: ignore[arg-type]
        return tuple(keys)

    def cells_of(self, candidate: Mapping[str, Any]) -> dict[str, Cell]:
        return {
            kind: Cell.of([Block(*(candidate[n] for n in (o, i, p, j, c))) for i, j, o, p, c in names])
            for kind, names in self._names.items()
        }

    @cached_property
    def layout(self) -> Layout:
        return inserted(self.cells, self.filters, self.reductions, self.stem == "imagenet")

    @cached_property
    def _names(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        parts = ("input1", "input2", "operation1", "operation2", "combine")
        return {
            kind: tuple(tuple(f"{kind}_block{b}_{part}" for part in parts) for b in range(1, self.blocks + 1))
            for kind in KINDS
        }

    @cached_property
    def _index(self) -> dict[str, int]:
        return {operation: index for index, operation in enumerate(self.operations)}

    @cached_property
    def _combine(self) -> dict[str, int]:
        return {combine: index for index, combine in enumerate(self.combine)}
