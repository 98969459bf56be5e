"""Commands about job files: init, validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.options import AsJson, JobFile, Overrides


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path("job.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented job file to begin with."""
    from nas.cli.output import remark, write
    from nas.jobfile.template import TEMPLATE
    from workers.errors import UserError

    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(TEMPLATE)
    except FileExistsError:
        raise UserError(f"{file} is there already: choose another name, or overwrite it with --force") from None
    write(str(file))
    remark(f"Change it as you like, then: nas validate {file}")


def validate(job: JobFile, changes: Overrides = None, json: AsJson = False) -> None:
    """Check a job file; describe its space, a sample network, and what the search will cost. Trains nothing."""
    from nas.cli.output import pairs, write_json
    from nas.cli.settings import load
    from nas.cli.text import forecast_lines
    from nas.forecast import forecast
    from nas.plan import Plan

    expected = forecast(Plan.of(load(job, changes or ())))
    if json:
        write_json(expected)
    else:
        pairs(forecast_lines(expected))
