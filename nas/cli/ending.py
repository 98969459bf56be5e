"""How a search that was watched has ended: what is said of it, and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from nas.cli.exits import Exit

if TYPE_CHECKING:
    from nas.log import Log


def conclude(log: Log, search: str, state: str, reason: str, again: str, quiet: bool = False) -> None:
    """Say how `search` ended, and leave with its exit code unless it is finished; `again` goes on with it."""
    from nas.cli.lookup import history
    from nas.cli.output import remark
    from nas.cli.text import standing_lines
    from nas.summary import standing

    remark(f"{search} {state}{f': {reason}' if reason else ''}")
    if state == "failed":
        raise typer.Exit(Exit.FAILED)
    if state != "finished":
        remark(f"Go on with: {again}")
        raise typer.Exit(Exit.INTERRUPTED)
    if not quiet:
        lines = standing_lines(standing(header := log.header(search), history(log, header)))
        for name in ("best", "baseline", "final", "next"):
            for line in lines.get(name, "").splitlines():
                remark(f"{name:<8}  {line}")
