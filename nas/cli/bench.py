"""The command that compares strategies on a table of published trainings: bench."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from nas.cli.options import AsJson

FILE = "A table in a file"
Texts: TypeAlias = list[str] | None


def bench(  # noqa: PLR0913 - the parameters of a command are its options
    table: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME", help="A CSV, CSV.gz or parquet file, or one of --tables.", show_default=False
        ),
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="List the tables that are installed, and stop.")] = False,
    strategy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[,NAME...]", help="The strategies to compare.", show_default=False),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, metavar="N", help="Trials of each run.")] = 100,
    runs: Annotated[int, typer.Option(min=1, metavar="R", help="Runs of each strategy.")] = 20,
    workers: Annotated[int, typer.Option(min=1, metavar="W", help="Trials that run at once, in virtual time.")] = 1,
    seed: Annotated[int, typer.Option(metavar="S", help="The seed of the first run; the next has S+1.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="STRATEGY.KEY=VALUE", help="An option of a strategy; may be repeated."),
    ] = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="Let strategies ask for the same training more than once.")
    ] = False,
    target: Annotated[
        float | None, typer.Option(metavar="VALUE", help="A search value: say when runs reach it.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Test, pair by pair, which strategy is better after the last trial.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw medians and quartiles.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes to run in; otherwise one per core.")
    ] = None,
    json: AsJson = False,
    decisions: Annotated[
        list[str] | None,
        typer.Option(metavar="COL[,COL...]", help="The columns to decide.", rich_help_panel=FILE),
    ] = None,
    ordered: Annotated[
        list[str] | None,
        typer.Option(metavar="COL[,COL...]", help="Those of them that are numbers.", rich_help_panel=FILE),
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="COL", help="The value that a search sees.", rich_help_panel=FILE)
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(metavar="COL", help="The value to report of what it found (else the same).", rich_help_panel=FILE),
    ] = None,
    minimize: Annotated[bool, typer.Option("--minimize", help="Less is better.", rich_help_panel=FILE)] = False,
    cost: Annotated[
        str | None, typer.Option(metavar="COL", help="The seconds of a training.", rich_help_panel=FILE)
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COL=VALUE", help="Take only such rows; may be repeated.", rich_help_panel=FILE),
    ] = None,
    fidelity: Annotated[
        list[str] | None,
        typer.Option(metavar="EPOCHS=COL", help="The search value after a shorter training.", rich_help_panel=FILE),
    ] = None,
    cost_at: Annotated[
        list[str] | None, typer.Option(metavar="EPOCHS=COL", help="The seconds of that.", rich_help_panel=FILE)
    ] = None,
    fidelity_column: Annotated[
        str | None,
        typer.Option(metavar="COL", help="The epochs, where each row is one training.", rich_help_panel=FILE),
    ] = None,
    repeat_column: Annotated[
        str | None, typer.Option(metavar="COL", help="The number of a repeat.", rich_help_panel=FILE)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The epochs of a full training.", rich_help_panel=FILE)
    ] = None,
    continued: Annotated[
        bool,
        typer.Option("--continued", help="A promoted trial pays only what is missing.", rich_help_panel=FILE),
    ] = False,
) -> None:
    """Compare strategies on a table of published trainings, in virtual time.

    Every strategy runs through the real loop; docs/bench.md says how to read what comes out.
    """
    from dataclasses import asdict

    from nas.bench.comparison import MEASURES
    from nas.bench.comparison import compare as duel
    from nas.bench.compete import compete, read
    from nas.bench.outcome import outcome
    from nas.bench.run import Contest
    from nas.cli import contest as said
    from nas.cli.output import write_json
    from nas.cli.scores import draw, duels, progress, scores
    from workers.errors import UserError

    if tables:
        said.list_tables(json)
        return
    if target is not None and not isfinite(target):
        raise UserError(f"--target is {target}, but must be a search value that runs can reach: give a finite number")
    columns = {
        "decisions": said.names(decisions),
        "search": search,
        "report": report or search,
        "minimize": minimize,
        "cost": cost,
        "ordered": said.names(ordered),
        "where": said.rows(where),
        "fidelities": said.by_epochs(fidelity, "--fidelity"),
        "costs": said.by_epochs(cost_at, "--cost-at"),
        "fidelity_column": fidelity_column,
        "repeat_column": repeat_column,
        "epochs": epochs,
        "continued": continued,
    }
    if plot is not None and not plot.parent.is_dir():
        raise UserError(f"--plot {plot} cannot be written: there is no folder {plot.parent}")
    source = said.source(table, columns)
    searchers = said.contestants(strategy, option, bare)
    known = read(source)
    with progress(searchers, runs) as heard:
        traces = compete(source, searchers, Contest(trials, workers), range(seed, seed + runs), processes, heard)
    found = outcome(known, Contest(trials, workers), traces, target)
    pairs = [pair for measure in MEASURES for pair in duel(traces, measure)] if compare else []
    if plot is not None:
        draw(plot, known, traces)
    if json:
        write_json({**found, "comparisons": [asdict(pair) for pair in pairs]} if compare else found)
        return
    scores(found)
    if compare:
        duels(pairs)
