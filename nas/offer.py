"""Pick, Offer: what a surrogate recommends to train next, best first, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import final

from search_spaces.decisions import Candidate
from workers.objectives import Objective
from workers.trial import Json


@final
@dataclass(frozen=True, slots=True)
class Pick:
    """A candidate that may be trained next; `parent` is what it grew from, `predicted` its gain."""

    candidate: Candidate
    parent: Candidate | None = None
    predicted: float | None = None


@final
class Offer:
    """The picks of `source` in order, no two isomorphic; canonical keys are computed as far as it is walked down.

    `fitted` is the rank correlation of the surrogate on what it was fitted to.
    """

    def __init__(
        self, canonical: Callable[[Candidate], Hashable], source: Iterator[Pick], fitted: float | None = None
    ) -> None:
        self.fitted = fitted
        self._canonical = canonical
        self._source = source
        self._met: set[Hashable] = set()
        self._waiting: dict[Hashable, Pick] = {}

    def __len__(self) -> int:
        """How many were met and not taken."""
        return len(self._waiting)

    def pick(self, place: int, taken: set[Hashable]) -> Pick | None:
        """Number `place` of those not taken, None where there are fewer."""
        while len(self._waiting) <= place:
            pick = next(self._source, None)
            if pick is None:
                return None
            key = self._canonical(pick.candidate)
            if key not in taken and key not in self._met:
                self._met.add(key)
                self._waiting[key] = pick
        if place == 0:
            return next(iter(self._waiting.values()))
        return list(self._waiting.values())[place]

    def take(self, key: Hashable) -> None:
        """Someone trains the candidate with this key."""
        self._waiting.pop(key, None)

    def note(self, level: int, pick: Pick, objective: Objective) -> dict[str, Json]:
        """What a trial's note keeps of a pick, the prediction in the metric's own sign."""
        note: dict[str, Json] = {"level": level}
        if pick.predicted is not None:
            note["predicted"] = round(objective.gain(pick.predicted), 6)
        if self.fitted is not None:
            note["fitted"] = round(self.fitted, 6)
        return note
