"""outcome: everything a benchmark found, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from nas.bench.curves import Curves
from nas.bench.run import Contest
from nas.bench.table import Table
from nas.bench.trace import Trace
from workers.objectives import Direction
from workers.trial import Json

TOPS = (1, 5, 10)
MEASURES = ("search", "report", "search_regret", "report_regret")


def outcome(
    table: Table, contest: Contest, traces: Mapping[str, Sequence[Trace]], target: float | None = None
) -> dict[str, Json]:
    """The table in short, then statistics per searcher, one entry per trial told; `docs/bench.md` has every key."""
    runs = {len(found) for found in traces.values()}
    return {
        "table": facts(table),
        "runs": max(runs, default=0),
        "trials": contest.trials,
        "workers": contest.workers,
        "seed": min((one.seed for found in traces.values() for one in found), default=None),
        "target": target,
        "strategies": {name: statistics(curves(table, found), target) for name, found in traces.items()},
    }


def curves(table: Table, traces: Sequence[Trace]) -> Curves:
    """The statistics of traces of `table`."""
    return Curves(traces, table.objective.direction is Direction.MINIMIZE)


def facts(table: Table) -> dict[str, Json]:
    """A table in short: what can be asked, and the best of it."""
    return {
        "name": table.name,
        "decisions": len(table.decisions),
        "candidates": table.decisions.size(),
        "rows": len(table.feasible),
        "search": table.objective.metric,
        "direction": str(table.objective.direction),
        "epochs": table.epochs,
        "fidelities": list(table.fidelities),
        "best_report": table.objective.gain(-table.reports[0]),
    }


def statistics(found: Curves, target: float | None = None) -> dict[str, Json]:
    """What one searcher reached after each trial, over its runs."""
    known: dict[str, Json] = {}
    for name in MEASURES:
        known[f"{name}_mean"] = found.mean(name)
        known[f"{name}_sem"] = found.sem(name)
        known[f"{name}_median"] = found.quantile(name, 0.5)
        known[f"{name}_q25"] = found.quantile(name, 0.25)
        known[f"{name}_q75"] = found.quantile(name, 0.75)
    known["rank_median"] = found.quantile("report_rank", 0.5)
    known["search_rank_median"] = found.quantile("search_rank", 0.5)
    known["virtual_seconds_mean"] = found.mean("seconds")
    known["virtual_seconds_median"] = found.quantile("seconds", 0.5)
    known["feasible"] = found.feasible
    known["top"] = {str(rows): found.top(rows) for rows in TOPS}
    known["reached_top"] = {str(rows): asdict(found.reached_top(rows)) for rows in TOPS}
    if target is not None:
        known["reached_target"] = asdict(found.reached(target))
    return known
