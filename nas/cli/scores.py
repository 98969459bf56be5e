"""What `nas bench` shows to people: progress, a table, tests, a drawing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from nas.bench.comparison import Comparison
from nas.bench.outcome import curves
from nas.bench.plot import plot
from nas.bench.table import Table
from nas.bench.trace import Trace
from nas.cli.output import Json, remark, table, write
from nas.quantities import counted, duration


@contextmanager
def progress(strategies: Iterable[str], runs: int) -> Iterator[Callable[[str, int], None] | None]:
    """A bar per strategy on stderr while it works; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        shown = {name: bars.add_task(name, total=runs) for name in strategies}
        yield lambda name, over: bars.update(shown[name], completed=over)


def draw(file: Path, table: Table, traces: Mapping[str, Sequence[Trace]]) -> None:
    """Write the plot of the incumbent's search value and reported value."""
    runs = max(map(len, traces.values()))
    found = {name: curves(table, one) for name, one in traces.items()}
    axes = {"search": f"best {table.objective.metric} so far", "report": "reported value of that candidate"}
    file.write_text(plot(f"{table.name}, {counted(runs, 'run')}: median and quartiles", found, axes), encoding="utf-8")


def scores(found: Mapping[str, Json]) -> None:
    """The table in one line, then a line per strategy after half of the trials, and after all of them."""
    facts = found["table"]
    shorter = f", trainings of {', '.join(map(str, facts['fidelities']))} epochs" if facts["fidelities"] else ""
    write(
        f"{facts['name']}: {facts['rows']:,} of {facts['candidates']:,} candidates are feasible{shorter}; "
        f"{facts['direction']} {facts['search']}, best report {_number(facts['best_report'])}"
    )
    at = sorted({max(1, found["trials"] // 2), found["trials"]})
    workers = f" by {found['workers']} workers at once" if found["workers"] > 1 else ""
    write(f"{counted(found['runs'], 'run')} of {counted(found['trials'], 'trial')}{workers}; means ± standard errors")
    write()
    target = found["target"]
    titles = ["strategy", "trials", "search", "median", "quartiles", "report", "regret", "rank", "top 5", "time"]
    reached = ["to target"] if target is not None else []
    rows = [
        [*_row(name, one, trials), *([_reached(one["reached_target"])] if reached else [])]
        for name, one in found["strategies"].items()
        for trials in at
    ]
    table([*titles, *reached], rows, right=titles[1:])


def duels(comparisons: Sequence[Comparison]) -> None:
    """A line per pair and measure."""
    if not comparisons:
        remark("There is nothing to compare: name two strategies.")
        return
    write()
    rows = [
        [
            f"{one.first} : {one.second}",
            one.measure,
            _plus(one.difference, one.sem),
            f"{one.wins} : {one.losses}" + (f", {one.ties} equal" if one.ties else ""),
            f"{one.p:.2g}",
            f"{one.better} is better" if one.better else "not told apart",
        ]
        for one in comparisons
    ]
    table(["pair", "by", "better by", "runs", "p", ""], rows, right=("better by", "p"))


def _row(name: str, one: Mapping[str, Json], trials: int) -> list[str]:
    def at(key: str) -> float | None:
        value: float | None = one[key][trials - 1]
        return value

    low, high = _number(at("search_q25")), _number(at("search_q75"))
    return [
        name,
        str(trials),
        _with(at("search_mean"), at("search_sem")),
        _number(at("search_median")),
        f"{low} to {high}",
        _with(at("report_mean"), at("report_sem")),
        _with(at("report_regret_mean"), at("report_regret_sem")),
        _number(at("rank_median")),
        f"{one['top']['5'][trials - 1]:.0%}",
        duration(at("virtual_seconds_mean")),
    ]


def _reached(one: Mapping[str, Json]) -> str:
    if one["trials"] is None:
        return f"{one['share']:.0%} of the runs"
    return f"{one['trials']:g} trials, {duration(one['seconds'])} ({one['share']:.0%} of the runs)"


def _with(mean: float | None, sem: float | None) -> str:
    return _number(mean) + (f" ± {sem:.2g}" if sem is not None else "")


def _plus(mean: float | None, sem: float | None) -> str:
    return ("+" if mean is not None and mean > 0 else "") + _with(mean, sem)


def _number(value: float | None) -> str:
    """Five significant digits; what is told apart here often differs in the fourth."""
    return "-" if value is None else f"{value:.5g}"
