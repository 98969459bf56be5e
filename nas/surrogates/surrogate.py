"""Surrogate: predicts scores of candidates that were not trained, from those that were."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.surrogates.vocabulary import Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Surrogate(ABC):
    """Reads candidates as token ids of a `Vocabulary`; scores are gains, larger better, in any unit."""

    @abstractmethod
    def fit(self, sequences: Sequence[Tokens], scores: Sequence[float]) -> None:
        """Learn from told scores, going on from what was learned at earlier fits; at least one of them."""

    @abstractmethod
    def predict(self, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
        """A score for each sequence, in the unit of the scores."""

    @abstractmethod
    def expand(
        self, parents: Sequence[Tokens], owners: NDArray[np.int64], suffixes: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What `predict` says of `parents[owners[i]]` followed by `suffixes[i]`, faster; (n,), (n, width) give (n,)."""
