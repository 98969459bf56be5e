"""Predictor: which surrogate a strategy was asked to use."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, final

from nas.surrogates.vocabulary import Vocabulary

if TYPE_CHECKING:
    from nas.surrogates.surrogate import Surrogate


@final
@dataclass(frozen=True, slots=True)
class Predictor:
    """An ensemble of `members` networks (`mlp`, `lstm`), trained by `loss`."""

    network: str
    loss: str
    members: int

    def fresh(self, vocabulary: Vocabulary, seed: int) -> Surrogate:
        """One that has learned nothing yet; imports torch."""
        from nas.surrogates.ensemble import Ensemble

        drawn = Random(f"{seed}/surrogate").getrandbits(62)
        return Ensemble(vocabulary, self.network, self.loss, self.members, drawn)
