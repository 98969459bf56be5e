"""Paired: what two searchers' runs say of each other, pair by pair, in words too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import final

from nas.bench.comparison import ALPHA, holm, wilcoxon
from workers.trial import Json


@final
@dataclass(frozen=True)
class Paired:
    """`difference` is the mean of `first` less `second` with its standard error; more is better.

    `lead` is the rank-biserial correlation and `p` that of Wilcoxon's signed-rank test, two-sided.
    """

    first: str
    second: str
    pairs: int
    difference: float
    error: float
    lead: float
    p: float

    @property
    def verdict(self) -> str:
        """In words."""
        if self.p >= ALPHA or self.lead == 0:
            return "not distinguishable from"
        return "better than" if self.lead > 0 else "worse than"

    def sentence(self, when: str) -> str:
        """One line for people, `p` being corrected."""
        return (
            f"{self.first} is {self.verdict} {self.second} {when}: {self.difference:+.4g} ± {self.error:.2g} "
            f"over {self.pairs} pairs of runs, p = {self.p:.2g} (Wilcoxon, Holm)"
        )

    def json(self) -> dict[str, Json]:
        return {**asdict(self), "verdict": self.verdict}


def compare(values: Mapping[str, Sequence[float]], first: str) -> list[Paired]:
    """`first` against every other one, as far as both have runs, corrected together; larger values are better."""
    return corrected([tested(first, name, values[first], other) for name, other in values.items() if name != first])


def tested(first: str, second: str, ours: Sequence[float], theirs: Sequence[float]) -> Paired:
    """One test, not yet corrected."""
    differences = [a - b for a, b in zip(ours, theirs, strict=False)]
    count = len(differences)
    lead, p = wilcoxon(differences)
    error = stdev(differences) / math.sqrt(count) if count > 1 else math.nan
    return Paired(first, second, count, fmean(differences), error, lead, p)


def corrected(tests: Sequence[Paired]) -> list[Paired]:
    """The same tests for being so many (Holm, 1979)."""
    return [replace(one, p=p) for one, p in zip(tests, holm([one.p for one in tests]), strict=True)]
