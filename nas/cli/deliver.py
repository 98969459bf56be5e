"""Commands that hand over what a search found: export, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.options import Place, SearchId


def export(
    search: SearchId = "last",
    folder: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where to; otherwise named after the search."),
    ] = None,
    trial: Annotated[int | None, typer.Option(metavar="N", help="Which trial; otherwise the best.")] = None,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Only this format of the network, such as onnx; may be repeated. `optuna` writes the whole search as "
            "one file, a study.",
        ),
    ] = None,
    journal: Place = None,
) -> None:
    """Write the best network to a folder: plain PyTorch source, weights, ONNX, a drawing, how to load it."""
    from nas.cli.lookup import find, find_trial, history, opened
    from nas.cli.output import write
    from nas.export import export as write_export
    from nas.export import whole
    from workers.errors import UserError

    with opened(journal) as log:
        header = find(log, search)
        if exporter := whole(format_, trial):
            path = folder or Path(f"{header.search}{exporter.suffix}")
            exporter.export(log, header.search, path)
            write(str(path))
            return
        known = history(log, header)
        if not header.job.get("space"):
            text = "tuned settings only, so there is no network to export: `nas best` shows them"
            raise UserError(f"{header.search} {text}")
        if trial is not None:
            find_trial(known, header.search, trial)
        write(str(write_export(log, header.search, folder or Path(header.search), trial, format_)))


def report(
    search: SearchId = "last",
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; otherwise ID.html.")
    ] = None,
    journal: Place = None,
) -> None:
    """Write a report of a search: one HTML file that needs nothing else."""
    from nas.cli.lookup import find, opened
    from nas.cli.output import write
    from nas.reports import report as write_report

    with opened(journal) as log:
        header = find(log, search)
        path = file or Path(f"{header.search}.html")
        write_report(log, header.search, path)
    write(str(path))
