"""The README's figure: what searches still lack to the best row, on the tables that a user can install, as an SVG file.

    python benchmarks/headline.py [--runs 30] [--out benchmarks/headline.svg] [--json]

Regret by validation value, in units of the distance from a table's median row to its best one, is averaged over the
tables of each kind and over runs; bands are two standard errors over runs. The searches are those of
`hyperparameters.py`, and of the same searchers on the three tables of cells.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TypeAlias

import hyperparameters
from figure import Entry, Figure, chosen, figure, parser, say, setting
from hyperparameters import regrets
from tables import CELLS, HYPERPARAMETERS

from nas.bench.plot import page
from nas.reports.chart import Axis, Band, Layer, Line, chart
from workers.trial import Json

OUT = Path(__file__).with_name("headline.svg")
TITLE = "What is missing to the best row of the table (the median row lacks 1): means, two standard errors"
TRIALS = 100
FIRST = 5  # the first trials are everybody's random ones
PANELS = {
    "12 tables of hyperparameters": HYPERPARAMETERS,
    "3 tables of cells (NAS-Bench-201)": CELLS,
}

Curve: TypeAlias = Sequence[tuple[float, float]]  # mean and standard error after each trial


def measured(shape: Figure, names: Sequence[str], entries: Sequence[Entry]) -> dict[str, Curve]:
    """A curve per searcher, over these tables."""
    sums: dict[str, list[list[float]]] = {}  # by searcher: a list per run, summed over tables
    for name in names:
        known = shape.table(name)
        for one, runs in shape.traces(name, entries).items():
            lacking = [regrets(known, runs, trials) for trials in range(1, TRIALS + 1)]
            by_run = list(zip(*lacking, strict=True))
            known_sums = sums.setdefault(one, [[0.0] * TRIALS for _ in by_run])
            sums[one] = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(known_sums, by_run, strict=True)]
    return {
        one: [_mean([total / len(names) for total in totals]) for totals in zip(*runs, strict=True)]
        for one, runs in sums.items()
    }


def _mean(values: Sequence[float]) -> tuple[float, float]:
    return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def panel(title: str, curves: Mapping[str, Curve], order: Sequence[str]) -> str:
    """One chart; a searcher has the colour of its place in `order`."""
    bands: list[Layer] = []
    lines: list[Layer] = []
    for name, curve in curves.items():
        style = f"s{order.index(name)}"
        points = [(float(x), mean, 2 * sem) for x, (mean, sem) in enumerate(curve, 1) if x >= FIRST]
        bands.append(Band([(x, max(mean - spread, mean / 2), mean + spread) for x, mean, spread in points], style))
        lines.append(Line([(x, mean) for x, mean, _ in points], style, name))
    across, down = Axis("trainings", float(FIRST), 1.05 * TRIALS, whole=True), Axis(f"regret on {title}", log=True)
    return chart(f"Mean validation regret on {title}", across, down, [*bands, *lines], said(curves))


def said(curves: Mapping[str, Curve]) -> str:
    """The ends of the curves in words."""
    return "; ".join(f"{name}: {curve[-1][0]:.4f} after {TRIALS} trainings" for name, curve in curves.items())


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--out", type=Path, default=OUT, help="the SVG file")
    given = options.parse_args()
    shape, panels = figure(given), []
    order = [one.name for one in hyperparameters.ENTRIES]
    record: dict[str, Json] = {"setting": setting(), "panels": {}}
    for title, names in PANELS.items():
        curves = measured(shape, names, chosen(hyperparameters.ENTRIES, given))
        panels.append(panel(title, curves, order))
        record["panels"][title] = {name: [mean for mean, _ in curve] for name, curve in curves.items()}
        say(f"{title}: {said(curves)}")
    given.out.write_text(page(TITLE, panels))
    if given.json:
        print(json.dumps(record))


if __name__ == "__main__":
    main()
