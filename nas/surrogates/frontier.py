"""Frontier: all expansions of a beam in integer arrays, of which only a few ever become candidates."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nas.progressive import successors
from nas.surrogates.vocabulary import Tokens, Vocabulary
from search_spaces.decisions import Candidate
from search_spaces.space import Space

_WHOLE = 100_000  # candidates, at some 50 microseconds each


@runtime_checkable
class Expandable(Protocol):
    """A progressive space that can say what `grow` gives without making candidates of it.

    A row of `expansions` holds one index into `points` for each decision that `extend` adds, in the table's order;
    parents of the same size may share one sequence of rows.
    """

    def expansions(self, candidate: Candidate) -> Sequence[tuple[int, ...]]: ...

    def extend(self, candidate: Candidate, tokens: tuple[int, ...]) -> Candidate: ...


@final
class Frontier:
    """Row i is the expansion of parent `owners[i]` by the tokens `suffixes[i]`; `prefixes` are the parents' tokens.

    Of a space that is not `Expandable` every successor is read as a whole: `prefixes` then holds one empty sequence,
    and of more than `_WHOLE` in all each parent has its share, drawn by `generator`.
    """

    def __init__(
        self, space: Space, vocabulary: Vocabulary, parents: Sequence[Candidate], generator: Random | None = None
    ) -> None:
        self._space = space
        self._vocabulary = vocabulary
        self._parents = parents
        self._children: list[Candidate] = []
        self._rows: list[Sequence[tuple[int, ...]]] = []
        self.prefixes: list[Tokens] = [()]
        if not (isinstance(space, Expandable) and self._expand(space)):
            self._grow(generator or Random(0))

    def __len__(self) -> int:
        return len(self.owners)

    def origin(self, row: int) -> int:
        """The place of the parent that row `row` expands."""
        return int(self._origins[row])

    def candidate(self, row: int) -> Candidate:
        """Row `row` as a candidate of the space."""
        if self._children:
            return self._children[row]
        assert isinstance(self._space, Expandable)
        owner = self.origin(row)
        return self._space.extend(self._parents[owner], self._rows[owner][row - int(self._starts[owner])])

    def _expand(self, space: Expandable) -> bool:
        """Fill the arrays from the space's integers; False where its parents grow by different numbers of tokens."""
        self._rows = [space.expansions(parent) for parent in self._parents]
        arrays: dict[int, NDArray[np.int64]] = {}
        for parent, rows in zip(self._parents, self._rows, strict=True):
            if rows and id(rows) not in arrays:
                arrays[id(rows)] = self._suffixes(space, parent, rows)
        if len({array.shape[1] for array in arrays.values()}) != 1:
            return False
        lengths = [len(rows) for rows in self._rows]
        self._origins = self.owners = np.repeat(np.arange(len(lengths)), lengths)
        self._starts = np.cumsum([0, *lengths])
        self.prefixes = [self._vocabulary.sequence(parent) for parent in self._parents]
        self.suffixes = np.concatenate([arrays[id(rows)] for rows in self._rows if rows])
        return True

    def _suffixes(self, space: Expandable, parent: Candidate, rows: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
        """The rows of one parent in the vocabulary's token ids."""
        child = space.extend(parent, rows[0])
        added = [name for name in self._vocabulary.names if name in child and name not in parent]
        points = np.array(rows, dtype=np.int64)
        columns = [np.array(self._vocabulary.ids(name))[points[:, i]] for i, name in enumerate(added)]
        return np.stack(columns, axis=1)

    def _grow(self, generator: Random) -> None:
        """Fill the arrays from whole successors."""
        origins: list[int] = []
        share = max(1, _WHOLE // max(1, len(self._parents)))
        for place, parent in enumerate(self._parents):
            children = successors(self._space, self._vocabulary.sizes, parent, generator, share)
            self._children += children
            origins += [place] * len(children)
        sequences = [self._vocabulary.sequence(child) for child in self._children]
        longest = max(map(len, sequences), default=0)
        padded = [(0,) * (longest - len(one)) + one for one in sequences]
        self._origins = np.array(origins, dtype=np.int64)
        self.owners = np.zeros(len(padded), dtype=np.int64)
        self.suffixes = np.array(padded, dtype=np.int64).reshape(len(padded), longest)
