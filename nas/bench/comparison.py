"""Comparison: which of two searchers is better over the same seeds, by paired tests with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, stdev
from typing import Literal, TypeAlias, final

from nas.bench.trace import Trace

Measure: TypeAlias = Literal["search", "report"]
MEASURES: tuple[Measure, ...] = ("search", "report")
ALPHA = 0.05
EXACT = 50  # differences up to which the distribution of the statistic is exact, where no two are equal
ENUMERATED = 13  # differences up to which all their signs are tried, where some are equal
DIGITS = 12  # to which differences are compared: less than that is rounding


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better `first` is than `second`: the mean over runs with its standard error (None: not all runs say).

    `wins`, `ties` and `losses` of `first` are counted run by run. `lead` is the rank-biserial correlation, 1 where
    `first` always wins, -1 where it always loses. `p_alone` is of the Wilcoxon signed-rank test, two sided; `p` is
    corrected for all tests that were made together (Holm, 1979).
    """

    first: str
    second: str
    measure: Measure
    difference: float | None
    sem: float | None
    wins: int
    ties: int
    losses: int
    lead: float
    p_alone: float
    p: float

    @property
    def better(self) -> str | None:
        """Who is better; None where the runs do not tell."""
        if self.p >= ALPHA or self.lead == 0.0:
            return None
        return self.first if self.lead > 0 else self.second


def compare(
    traces: Mapping[str, Sequence[Trace]],
    measure: Measure = "report",
    trial: int = -1,
    against: str | None = None,
) -> list[Comparison]:
    """Every pair of searchers (with `against`: every other one with that one), after `trial` (counted from 0).

    Run i of one is paired with run i of the other: they have the same seed, and so meet the same noise. A run that
    found nothing feasible is worse than every other.
    """
    pairs = [(one, against) for one in traces if one != against] if against else list(combinations(traces, 2))
    found = [_pair(first, second, traces, measure, trial) for first, second in pairs]
    corrected = holm([one.p_alone for one in found])
    return [replace(one, p=p) for one, p in zip(found, corrected, strict=True)]


def wilcoxon(differences: Sequence[float]) -> tuple[float, float]:
    """The rank-biserial correlation and the two-sided p value of the signed-rank test.

    Differences of 0 are left out; without any other they are 0 and 1.
    """
    largest = max(map(abs, differences), default=0.0)
    known = [scaled for one in differences if largest and (scaled := round(one / largest, DIGITS))]
    if not known:
        return 0.0, 1.0
    from scipy import stats

    sizes = [abs(one) for one in known]
    tied = len(set(sizes)) < len(sizes)
    method: object = "asymptotic"
    if not tied and len(known) <= EXACT:
        method = "exact"
    elif len(known) <= ENUMERATED:
        method = stats.PermutationMethod(n_resamples=2**ENUMERATED)  # no fewer than there are: none is left to chance
    ranks = [float(one) for one in stats.rankdata(sizes)]
    lead = sum(math.copysign(rank, one) for rank, one in zip(ranks, known, strict=True)) / sum(ranks)
    return lead, float(stats.wilcoxon(known, method=method).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values corrected for being so many, in their order."""
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = largest
    return corrected


def _pair(first: str, second: str, traces: Mapping[str, Sequence[Trace]], measure: Measure, trial: int) -> Comparison:
    left, right = (_regrets(traces[name], measure, trial) for name in (first, second))
    known = [one for one in (*left, *right) if math.isfinite(one)]
    worst = 2 * max(known, default=0.0) + 1.0  # differs from any other by more than those from each other
    filled = [[one if math.isfinite(one) else worst for one in side] for side in (left, right)]
    differences = [b - a for a, b in zip(*filled, strict=True)]
    complete = len(known) == len(left) + len(right)
    lead, p = wilcoxon(differences)
    return Comparison(
        first=first,
        second=second,
        measure=measure,
        difference=fmean(differences) if complete else None,
        sem=stdev(differences) / math.sqrt(len(differences)) if complete and len(differences) > 1 else None,
        wins=sum(one > 0 for one in differences),
        ties=sum(one == 0 for one in differences),
        losses=sum(one < 0 for one in differences),
        lead=lead,
        p_alone=p,
        p=p,
    )


def _regrets(traces: Sequence[Trace], measure: Measure, trial: int) -> list[float]:
    found = [(one.search_regret if measure == "search" else one.report_regret)[trial] for one in traces]
    return [math.inf if one is None else one for one in found]
