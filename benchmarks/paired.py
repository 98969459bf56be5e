"""compare: paired tests of one searcher against each other one, with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import final

from workers.trial import Json

LEVEL = 0.05


@final
@dataclass(frozen=True)
class Paired:
    """What the pairs of runs say: `difference` is the mean of `first` less `second`, larger being better for `first`.

    `p` is that of Wilcoxon's signed-rank test, two-sided, after Holm's correction for all tests made together.
    """

    first: str
    second: str
    pairs: int
    difference: float
    error: float
    p: float

    @property
    def verdict(self) -> str:
        """In words."""
        if self.p >= LEVEL:
            return "not distinguishable from"
        return "better than" if self.difference > 0 else "worse than"

    def sentence(self, when: str) -> str:
        """One line for people."""
        return (
            f"{self.first} is {self.verdict} {self.second} {when}: {self.difference:+.4g} ± {self.error:.2g} "
            f"over {self.pairs} pairs of runs, p = {self.p:.2g} (Wilcoxon, Holm)"
        )

    def json(self) -> dict[str, Json]:
        return {**asdict(self), "verdict": self.verdict}


def compare(values: Mapping[str, Sequence[float]], first: str) -> list[Paired]:
    """`first` against every other one, run by run, as far as both have runs; larger values are better."""
    from scipy.stats import wilcoxon

    found = []
    for name, other in values.items():
        differences = [a - b for a, b in zip(values[first], other, strict=False)]
        if name == first or len(differences) < 2:
            continue
        p = float(wilcoxon(differences).pvalue) if any(differences) else 1.0
        error = stdev(differences) / math.sqrt(len(differences))
        found.append(Paired(first, name, len(differences), fmean(differences), error, p))
    return holm(found)


def holm(tests: Sequence[Paired]) -> list[Paired]:
    """The same tests with corrected values of p, in the same order (Holm, 1979)."""
    corrected, largest = [one.p for one in tests], 0.0
    for place, index in enumerate(sorted(range(len(tests)), key=lambda i: tests[i].p)):
        largest = max(largest, min(1.0, tests[index].p * (len(tests) - place)))
        corrected[index] = largest
    return [replace(one, p=p) for one, p in zip(tests, corrected, strict=True)]
