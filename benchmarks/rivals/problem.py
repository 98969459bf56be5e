"""Problem, Search: what somebody else's method is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, final

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError


@final
@dataclass(frozen=True)
class Problem:
    """Decisions, a value for each candidate (None: infeasible), and which way it is better."""

    decisions: Decisions
    value: Callable[[Candidate], float | None]
    minimize: bool = False

    @property
    def choices(self) -> dict[str, Choice]:
        """The decisions, which must be choices that are always active, as those of a table are."""
        found = {}
        for name, decision in self.decisions.items():
            if not isinstance(decision, Choice) or decision.when is not None:
                raise UserError(f"{name} must be {decision.rule}: the rivals search tables of plain choices only")
            found[name] = decision
        return found


class Search(Protocol):
    """A method, one trial at a time; equal seeds give equal searches."""

    def __call__(self, problem: Problem, trials: int, seed: int) -> Sequence[Candidate]:
        """What was tried, in this order; a candidate that the method tries again counts again."""
