"""Few seeds: searches of real trainings that are kept, and what their means say where there are only a few of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import nas
from workers.errors import NotFoundError
from workers.trial import Json


def finished(job: Mapping[str, Json], journal: str) -> nas.Search:
    """The search of `job` at its end: read from the journal if it is there, gone on with if it was interrupted."""
    try:
        search = nas.Search(job["name"], journal)
    except NotFoundError:
        return nas.run(dict(job))
    if search.state == "finished":
        return search
    search.close()
    return nas.resume(job["name"], journal=journal)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half the width of its 95 % interval by Student's distribution; NaN for one value."""
    if len(values) < 2:
        return values[0], math.nan
    from scipy.stats import t

    return fmean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def share(values: Sequence[float]) -> str:
    """The mean of shares with its interval, in per cent; of one value no interval."""
    mean, half = interval(values)
    return f"{mean:.2%}" if math.isnan(half) else f"{mean:.2%} ± {half:.2%}"


def verdict(first: Sequence[float], second: Sequence[float], written: str = ".2%", less: bool = False) -> str:
    """How `first` compares with `second`, pair by pair; more is better, or `less`. `written` is a number's format."""
    mean, half = interval([a - b for a, b in zip(first, second, strict=True)])
    if math.isnan(half):
        return f"one seed cannot tell: {mean:+{written}}"
    said = "no difference" if abs(mean) <= half else "better" if (mean < 0) == less else "worse"
    return f"{said}: {mean:+{written}} ± {half:{written}}"
