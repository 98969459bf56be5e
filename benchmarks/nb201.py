"""NAS-Bench-201, CIFAR-10: accuracy after 50 and 100 trainings, and how soon the best five cells are found.

    python benchmarks/nb201.py --data FOLDER [--runs 200] [--json]

Searched by the validation accuracy of seed 0 after 200 epochs, one worker; reported is the incumbent's test accuracy
(`FOLDER` holds `nb201/nb201.csv.gz`). Without `--data` it is the table that a user installs, `nasbench201/cifar10`:
one of up to three validation accuracies is seen, drawn per run, and their mean is reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from figure import Entry, chosen, figure, parser, searcher, setting, table
from paired import compare

from nas.bench.curves import Curves
from nas.bench.run import Contestant
from workers.trial import Json

OURS = "surrogate"
EVOLUTION = {"population": 10, "sample": 5}
ENTRIES = (
    Entry(OURS, searcher("surrogate"), 200),
    Entry("evolution", Contestant("evolution", EVOLUTION), 400, 300),
    Entry("evolution with repeats", Contestant("evolution", EVOLUTION, bare=True), 400, 300),
    Entry("reference evolution", searcher("reference_evolution"), 400, 300),
    Entry("random forest", searcher("random_forest"), 40),
    Entry("Optuna TPE", searcher("optuna_tpe"), 200),
    Entry("random", searcher("random"), 400, 300),
)


def measured(curves: Mapping[str, Curves]) -> dict[str, Json]:
    """What the table shows."""
    found: dict[str, Json] = {}
    for name, one in curves.items():
        mean, sem, top = one.mean("report"), one.sem("report"), one.top(5)
        reached = one.reached_top(5)
        found[name] = {
            "runs": len(one.traces),
            "after_50": [mean[49], sem[49]],
            "after_100": [mean[99], sem[99]],
            "top5_after_50": top[49],
            "top5_after_100": top[99],
            "trainings_to_top5": reached.trials,
        }
    return found


def main() -> None:
    given = parser(__doc__).parse_args()
    name = "nasbench201/cifar10" if given.data is None else "nb201/c10"
    traces = figure(given).traces(name, chosen(ENTRIES, given))
    found = measured({one: Curves(runs) for one, runs in traces.items()})
    ends = {one: [run.report[99] or 0.0 for run in runs] for one, runs in traces.items()}
    tests = compare(ends, OURS) if OURS in ends else []
    if given.json:
        record = {"setting": setting(), "table": name, "strategies": found, "tests": [one.json() for one in tests]}
        print(json.dumps(record))
        return
    titles = ["", "runs", "after 50", "after 100", "top 5 after 50", "after 100", "trainings to top 5"]
    rows = [
        [
            one,
            str(numbers["runs"]),
            *(f"{numbers[key][0]:.3f} ± {numbers[key][1] or 0:.3f}" for key in ("after_50", "after_100")),
            *(f"{numbers[key]:.0%}" for key in ("top5_after_50", "top5_after_100")),
            "-" if numbers["trainings_to_top5"] is None else f"{numbers['trainings_to_top5']:g}",
        ]
        for one, numbers in found.items()
    ]
    print(f"{name}: {setting()}\n\n{table(titles, rows)}\n")
    for test in tests:
        print(f"- {test.sentence('after 100 trainings')}")


if __name__ == "__main__":
    main()
