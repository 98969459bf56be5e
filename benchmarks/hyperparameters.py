"""Twelve tables of hyperparameters: the mean rank of each searcher by what it had found after so many trials.

    python benchmarks/hyperparameters.py [--runs 30] [--json]

HPOLib's four and HPOBench's eight, as a user installs them; 100 trials, 30 runs, one worker. In a run everybody meets
the same trainings (one of the published repeats, drawn for each row); within a run the best value after so many trials
is ranked, equal ones sharing the mean of their ranks, and ranks are averaged over runs and tables. Regret is in units
of the distance from a table's median row to its best one. Tests are of ranks, and of regrets; slow rivals join with
fewer runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TypeAlias

from figure import Entry, Figure, chosen, figure, parser, searcher, setting, table
from paired import compare
from tables import HYPERPARAMETERS

from nas.bench.table import Table
from nas.bench.trace import Trace
from workers.trial import Json

OURS = "surrogate"
ENTRIES = (
    Entry(OURS, searcher("surrogate"), 30),
    Entry("evolution", searcher("evolution"), 30),
    Entry("Optuna TPE", searcher("optuna_tpe"), 30),
    Entry("Syne Tune KDE", searcher("syne_tune_kde"), 30),
    Entry("random", searcher("random"), 30),
)
BORE = Entry("Syne Tune BORE", searcher("syne_tune_bore"), 5)  # 11 seconds per search, on some tables a minute
GP = Entry("Optuna GP", searcher("optuna_gp"), 10)  # 5 seconds
FOUR = ("hpolib/naval_propulsion", "hpolib/slice_localization", "hpobench/australian", "hpobench/vehicle")
AFTER = (25, 50, 100)

Found: TypeAlias = Mapping[str, Mapping[str, Sequence[Trace]]]  # by table, by searcher: a trace per run


def regrets(known: Table, traces: Sequence[Trace], trials: int) -> list[float]:
    """What each run still lacked to the best row that it could see, the table's median row being 1."""
    unit = known.reports[len(known.reports) // 2] - known.reports[0]
    missing = [run.search_regret[trials - 1] for run in traces]
    return [math.inf if one is None else one / unit for one in missing]


def ranked(lacking: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, list[float]]]:
    """Ranks from 1, by searcher and table, a number per run; every searcher must have as many runs."""
    from scipy.stats import rankdata

    found: dict[str, dict[str, list[float]]] = {}
    for name, by_searcher in lacking.items():
        searchers = list(by_searcher)
        for run in zip(*by_searcher.values(), strict=True):
            for one, rank in zip(searchers, rankdata(run).tolist(), strict=True):
                found.setdefault(one, {}).setdefault(name, []).append(rank)
    return found


def measured(shape: Figure, names: Sequence[str], entries: Sequence[Entry]) -> dict[str, Json]:
    """The ranks of these searchers on these tables, and paired tests of ours."""
    runs = min(one.runs for one in entries)
    lacking: dict[int, dict[str, dict[str, list[float]]]] = {trials: {} for trials in AFTER}
    for name in names:
        traces, known = shape.traces(name, entries), shape.table(name)
        for trials in AFTER:
            lacking[trials][name] = {one: regrets(known, found[:runs], trials) for one, found in traces.items()}
    ranks = {trials: ranked(found) for trials, found in lacking.items()}
    last = AFTER[-1]
    by_rank = {one.name: [-r for name in names for r in ranks[last][one.name][name]] for one in entries}
    by_regret = {one.name: [-r for name in names for r in lacking[last][name][one.name]] for one in entries}
    tests = {
        what: compare(found, OURS) if OURS in found else []
        for what, found in (("ranks", by_rank), ("regrets", by_regret))
    }
    return {
        "runs": runs,
        "mean_rank": {
            one.name: {trials: _mean([r for rs in ranks[trials][one.name].values() for r in rs]) for trials in AFTER}
            for one in entries
        },
        "mean_rank_by_table": {
            name: {one.name: fmean(ranks[last][one.name][name]) for one in entries} for name in names
        },
        "regret_by_table": {
            name: {one: _mean(values) for one, values in lacking[last][name].items()} for name in names
        },
        "tests": {what: [one.json() for one in found] for what, found in tests.items()},
        "sentences": [
            one.sentence(f"after {last} trials, by {what}") for what, found in tests.items() for one in found
        ],
    }


def _mean(values: Sequence[float]) -> list[float]:
    return [fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan]


def written(found: Mapping[str, Json]) -> str:
    """The same for people, in Markdown."""
    ranks, by_table = found["mean_rank"], found["mean_rank_by_table"]
    head = ["mean rank", *(f"after {trials}" for trials in AFTER)]
    rows = [[one, *(f"{r:.2f} ± {e:.2f}" for r, e in numbers.values())] for one, numbers in ranks.items()]
    each = [[name, *(f"{rank:.2f}" for rank in one.values())] for name, one in by_table.items()]
    first = sum(min(one, key=one.__getitem__) == OURS for one in by_table.values())
    said = [table(head, rows), table([f"mean rank after {AFTER[-1]}", *ranks], each)]
    if OURS in ranks:
        said.append(f"{OURS} has the smallest mean rank on {first} of {len(by_table)} tables.")
    said.append("\n".join(f"- {one}" for one in found["sentences"]))
    return "\n\n".join(said)


GROUPS = {
    "Twelve tables": (HYPERPARAMETERS, ENTRIES),
    "Twelve tables, with Syne Tune's BORE": (HYPERPARAMETERS, (*ENTRIES, BORE)),
    "Four tables, with Optuna's Gaussian process, too": (FOUR, (*ENTRIES, GP)),
}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--fast", action="store_true", help="leave out what takes seconds per search")
    given = options.parse_args()
    shape, found = figure(given), {}
    for title, (names, entries) in list(GROUPS.items())[: 1 if given.fast else None]:
        found[title] = measured(shape, names, chosen(entries, given))
    if given.json:
        print(json.dumps({"setting": setting(), **found}))
        return
    parts = [f"**{title}, {one['runs']} runs each**\n\n{written(one)}" for title, one in found.items()]
    print("\n\n".join([setting(), *parts]))


if __name__ == "__main__":
    main()
