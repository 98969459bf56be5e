"""Known: the trials of a search as rows, which only grow: what is new is added, nothing is read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, final

import numpy as np

from nas.surrogates.codes import Codes
from search_spaces.decisions import Candidate
from workers.objectives import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nas.surrogates.codes import Rows
    from nas.surrogates.kernel import Matrix

Kind = TypeVar("Kind", bound=np.generic)
SPARE = 64  # rows to begin with; then room is doubled


@final
class Known:
    """Rows by trial, and what was told of them in that order: a gain, NaN for a failure; or that it is infeasible.

    Takes some 8 bytes for each decision of a trial, and some 100 beside. What is asked again costs nothing.
    """

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self._place: dict[int, int] = {}
        self._rows: Rows = np.zeros((SPARE, len(codes)))
        self._told = 0
        self._order: NDArray[np.int64] = np.zeros(SPARE, dtype=np.int64)
        self._gains: Matrix = np.zeros(SPARE)
        self._infeasible: NDArray[np.bool_] = np.zeros(SPARE, dtype=bool)

    def update(self, candidates: Mapping[int, Candidate], outcomes: Mapping[int, float | Outcome]) -> Rows:
        """Take note of what was asked and told since; both only grow at their ends. The rows that are new."""
        before = len(self._place)
        for trial in islice(candidates, before, None):
            self._place[trial] = len(self._place)
        now = len(self._place)
        self._rows = _roomy(self._rows, now)
        self._rows[before:now] = self.codes.rows([candidates[trial] for trial in islice(candidates, before, None)])
        self._tell(outcomes)
        return self._rows[before:now]

    def _tell(self, outcomes: Mapping[int, float | Outcome]) -> None:
        size = len(outcomes)
        self._order, self._gains = _roomy(self._order, size), _roomy(self._gains, size)
        self._infeasible = _roomy(self._infeasible, size)
        for number, trial in enumerate(islice(outcomes, self._told, None), self._told):
            outcome = outcomes[trial]
            self._order[number] = self._place[trial]
            self._infeasible[number] = outcome is Outcome.INFEASIBLE
            self._gains[number] = np.nan if isinstance(outcome, Outcome) else outcome
        self._told = size

    @property
    def infeasible(self) -> bool:
        """Whether anything was."""
        return bool(self._infeasible[: self._told].any())

    def rows(self, trials: Sequence[int]) -> Rows:
        """The rows of trials."""
        return self._rows[[self._place[trial] for trial in trials]] if trials else self._rows[:0]

    def gains(self, count: int) -> tuple[Rows, Matrix]:
        """Of the first so many told those that are feasible, with their gains, NaN where there is none."""
        feasible = ~self._infeasible[:count]
        return self._rows[self._order[:count][feasible]], self._gains[:count][feasible]

    def labels(self, count: int) -> tuple[Rows, Matrix]:
        """Of the first so many told +1 for what is feasible, -1 for what is not."""
        return self._rows[self._order[:count]], np.where(self._infeasible[:count], -1.0, 1.0)


def _roomy(array: NDArray[Kind], size: int) -> NDArray[Kind]:
    """The array with room for `size`, twice as much where it had not."""
    if size <= len(array):
        return array
    larger = np.zeros((max(size, 2 * len(array)), *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
