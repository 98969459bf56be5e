"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

SearchId: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="A search: its id, a beginning that no other id has, or `last`.", show_default=False
    ),
]
Place: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="PLACE",
        help="Where journals are: a folder or postgresql://...; otherwise $NAS_HOME, otherwise ~/.cellwright.",
        show_default=False,
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
JobFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="JOB", help="The job file (YAML); `nas init` writes one.", show_default=False)
]
Overrides: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as budget.trials=50; may be repeated."),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
