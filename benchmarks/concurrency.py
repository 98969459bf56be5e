"""What many workers cost: the same number of trainings told by one, by 8 and by 32 workers at once.

    python benchmarks/concurrency.py [--data FOLDER] [--runs 60] [--json]

NAS-Bench-201, CIFAR-10, 100 trainings in virtual time, each as long as it was. Shown is the incumbent's reported
accuracy; a loss is the mean difference to one worker over runs with equal seeds, with its standard error.
"""

from __future__ import annotations

import json

from figure import Entry, chosen, figure, parser, searcher, setting, table
from paired import compare

from nas.bench.curves import Curves

NAMES = ("surrogate", "evolution")
COUNTS = (1, 8, 32)
RUNS = 60


def entries(name: str) -> list[Entry]:
    """The same searcher with every number of workers."""
    return [Entry(f"{name}, {count}", searcher(name), RUNS, workers=count) for count in COUNTS]


def main() -> None:
    given = parser(__doc__).parse_args()
    names = given.only.split(",") if given.only else NAMES
    given.only = None
    shape = figure(given)
    place = "nasbench201/cifar10" if given.data is None else "nb201/c10"
    rows, tests, record = [], [], {}
    for name in names:
        traces = shape.traces(place, chosen(entries(name), given))
        ends = {one: [run.report[99] or 0.0 for run in runs] for one, runs in traces.items()}
        tests += compare(ends, f"{name}, {COUNTS[0]}")
        for one, runs in traces.items():
            curves = Curves(runs)
            mean, sem, hours = curves.mean("report"), curves.sem("report"), curves.mean("seconds")
            record[one] = {trials: [mean[trials - 1], sem[trials - 1]] for trials in (50, 100)}
            said = [f"{mean[i - 1] or 0:.3f} ± {sem[i - 1] or 0:.3f}" for i in (50, 100)]
            rows.append([one, str(len(runs)), *said, f"{(hours[99] or 0) / 3600:.1f} h"])
    if given.json:
        told = [one.json() for one in tests]
        print(json.dumps({"setting": setting(), "table": place, "workers": record, "tests": told}))
        return
    print(f"{place}: {setting()}\n")
    print(table(["workers", "runs", "after 50", "after 100", "virtual time"], rows) + "\n")
    for test in tests:
        print(f"- {test.sentence('after 100 trainings')}")


if __name__ == "__main__":
    main()
