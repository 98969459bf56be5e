"""What the RNN controller has learnt: the mean accuracy of the last 100 cells that it samples in 500 trainings.

    python benchmarks/controllers.py --data FOLDER [--runs 20] [--json]

NAS-Bench-201, CIFAR-10, validation accuracy of seed 0 (without `--data` the installed table, one of its repeats per
run), cells that were sampled before included, against the mean of all cells.
"""

from __future__ import annotations

import json
import math
from statistics import fmean, stdev

from cached import Cached
from figure import Entry, chosen, figure, parser, setting, table

from nas.bench.run import Contest, Contestant

TRIALS, LAST = 500, 100
ENTRIES = tuple(
    Entry(f"reinforce {preset}", Contestant("reinforce", {"preset": preset}, bare=True), 20, TRIALS)
    for preset in ("zoph2017", "nasnet2018")
)


def main() -> None:
    given = parser(__doc__).parse_args()
    shape = figure(given)
    known = shape.table("nasbench201/cifar10" if given.data is None else "nb201/c10")
    everything = [one.value for row in known.feasible.values() for one in row.trainings[known.epochs][:1]]
    base = fmean(everything)
    found = {}
    for entry in chosen(ENTRIES, given):
        shape.traces(known.name, [entry])
        kept = Cached(entry.searcher, given.cache)
        runs = [kept(known, Contest(TRIALS), seed)[-LAST:] for seed in range(entry.runs)]
        means = [fmean(one.gain for one in run if one.gain is not None) for run in runs]
        found[entry.name] = [fmean(means), stdev(means) / math.sqrt(len(means)) if len(means) > 1 else math.nan]
    if given.json:
        print(json.dumps({"setting": setting(), "table": known.name, "all_cells": base, "last": found}))
        return
    rows = [[name, f"{mean:.2f} ± {error:.2f}", f"{mean - base:+.2f}"] for name, (mean, error) in found.items()]
    print(f"{known.name}: {setting()}\n")
    print(table(["", f"last {LAST} of {TRIALS}", f"against all cells ({base:.2f})"], rows))


if __name__ == "__main__":
    main()
