"""Every strategy against fixed tables of all kinds: who beats random, where, and where not.

    python benchmarks/matrix.py [--data FOLDER] [--runs 20] [--json]

50 trainings, one worker, everybody in the same worlds; what is compared is the best value that the search had seen. A
table with shorter trainings is a race against time: whoever trains some candidates for less may try more of them, and
counts as he stands when the random search of the same run has ended. The tests are Wilcoxon's signed-rank test on pairs
of runs, corrected by Holm for all cells of the matrix together. Without `--data` three tables are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from figure import Entry, Figure, chosen, figure, parser, say, searcher, setting, table
from paired import Paired, corrected, tested

from nas.bench.run import Contest, Contestant, strategy
from nas.bench.table import Table
from nas.bench.trace import Trace
from workers.errors import UserError

TRIALS, RUNS = 50, 20
RANDOM = Entry("random", searcher("random"), RUNS, TRIALS)
ENTRIES = (
    RANDOM,
    Entry("surrogate", searcher("surrogate"), RUNS, TRIALS),
    Entry("evolution", searcher("evolution"), RUNS, TRIALS),
    Entry("local_search", searcher("local_search"), RUNS, TRIALS),
    Entry("pnas", searcher("pnas"), RUNS, TRIALS),
    Entry("reinforce", searcher("reinforce"), RUNS, TRIALS),
    Entry("reinforce zoph2017", searcher("reinforce", preset="zoph2017"), RUNS, TRIALS),
    Entry("reinforce nasnet2018", searcher("reinforce", preset="nasnet2018"), RUNS, TRIALS),
    Entry("halving", searcher("halving"), RUNS, TRIALS),
    Entry("grid", searcher("grid"), RUNS, TRIALS),
    *(Entry(f"optuna {name}", searcher("optuna", sampler=name), RUNS, TRIALS) for name in ("tpe", "gp", "cmaes")),
    *(Entry(f"optuna {name}", searcher("optuna", sampler=name), RUNS, TRIALS) for name in ("qmc", "nsgaii")),
)
TABLES = (
    "nasbench201/cifar10",
    "nasbench201/cifar100",
    "nasbench201/imagenet",
    "hpolib/naval_propulsion",
    "hpobench/australian",
    "hpobench/vehicle",
    "ecnas/4V",
    "nb201/rungs",
    "nb201/latency",
)
BY_RUNGS = ("halving", "surrogate")  # they may train for less: more trials in the same time
MORE = 4


def accepted(known: Table, entries: Sequence[Entry]) -> list[Entry]:
    """Those that search this table; halving needs shorter trainings, cmaes numbers."""
    found = []
    for one in entries:
        assert isinstance(one.searcher, Contestant)
        more = MORE if known.fidelities and one.name in BY_RUNGS else 1
        try:
            strategy(known, one.searcher, Contest(one.trials), seed=0)
        except UserError as error:
            say(f"{known.name}: {one.name} is left out: {error}")
            continue
        if one.name != "halving" or known.fidelities:
            found.append(Entry(one.name, one.searcher, one.runs, one.trials * more, one.workers))
    return found


def reached(known: Table, trace: Trace, random: Trace) -> float:
    """What the run lacked to the best row, negated: after its trials, or at the time when `random` had ended."""
    end = random.seconds[TRIALS - 1] if known.fidelities else float("inf")
    values = [one for one, at in zip(trace.search_regret, trace.seconds, strict=True) if at <= end]
    last = values[-1] if values else None
    return 2 * (known.reports[0] - known.reports[-1]) if last is None else -last  # nothing feasible: worse than any


def cells(shape: Figure, names: Sequence[str], entries: Sequence[Entry]) -> dict[tuple[str, str], Paired]:
    """A test for each strategy and table, corrected together."""
    found: dict[tuple[str, str], Paired] = {}
    for name in names:
        known = shape.table(name)
        taking = accepted(known, entries)
        traces = shape.traces(name, taking)
        plain = traces[RANDOM.name]
        base = [reached(known, one, one) for one in plain]
        for entry in taking:
            if entry != RANDOM and entry.name != RANDOM.name:
                ends = [reached(known, *pair) for pair in zip(traces[entry.name], plain, strict=True)]
                found[entry.name, name] = tested(entry.name, RANDOM.name, ends, base)
    return dict(zip(found, corrected(list(found.values())), strict=True))


def written(found: Mapping[tuple[str, str], Paired], names: Sequence[str]) -> str:
    """The matrix, and each row in a sentence."""
    strategies = list(dict.fromkeys(one for one, _ in found))
    rows = [[one, *(_sign(found.get((one, name))) for name in names)] for one in strategies]
    lines = [f"- **{one}** {_sentence({n: found[one, n] for n in names if (one, n) in found})}" for one in strategies]
    return "\n\n".join([table(["against random", *(name.split("/")[1] for name in names)], rows), "\n".join(lines)])


def _sign(test: Paired | None) -> str:
    return "" if test is None else {"better than": "better", "worse than": "worse"}.get(test.verdict, "=")


def _sentence(tests: Mapping[str, Paired]) -> str:
    parts = []
    for verdict, words in (("better than", "beats random on"), ("worse than", "loses to it on")):
        if names := [name for name, test in tests.items() if test.verdict == verdict]:
            parts.append(f"{words} {', '.join(names)}")
    if names := [name for name, test in tests.items() if test.verdict.startswith("not")]:
        parts.append(f"cannot be told from it on {', '.join(names)}")
    return "; ".join(parts) + "."


def main() -> None:
    given = parser(__doc__).parse_args()
    entries = chosen(ENTRIES, given)
    if RANDOM.name not in [one.name for one in entries]:
        entries = [Entry(RANDOM.name, RANDOM.searcher, entries[0].runs, TRIALS), *entries]
    names = TABLES if given.data is not None else TABLES[:6]
    found = cells(figure(given), names, entries)
    if given.json:
        tests = [{"strategy": one, "table": name, **test.json()} for (one, name), test in found.items()]
        print(json.dumps({"setting": setting(), "runs": entries[0].runs, "trials": TRIALS, "tests": tests}))
        return
    print(f"{setting()}\n\n{TRIALS} trainings, {entries[0].runs} runs\n\n{written(found, names)}")


if __name__ == "__main__":
    main()
