"""Commands that look after a machine: gc, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from nas.cli.exits import Exit
from nas.cli.options import AsJson, Place


def gc(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove it; otherwise only say what would go.")] = False,
    quota: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove more, the oldest first, until what is left fits: 500MB, 20GiB."),
    ] = None,
    journal: Place = None,
    json: AsJson = False,
) -> None:
    """Remove artifacts that no search refers to; without --yes only says which."""


def doctor(journal: Place = None, json: AsJson = False) -> None:
    """Say what this machine has and lacks for a search, and what to do about it."""
    from dataclasses import asdict

    from nas.cli.output import write, write_json
    from nas.doctor import Level, examine

    findings = []
    for finding in examine(journal):
        findings.append(finding)
        if not json:
            mark = {Level.FINE: "ok", Level.NOTE: "note"}.get(finding.level, str(finding.level))
            write(f"{mark:<8} {finding.check:<12} {finding.found}")
            if finding.remedy:
                write(f"{'':<21} -> {finding.remedy}")
    if json:
        write_json([{**asdict(finding), "level": str(finding.level)} for finding in findings])
    if any(finding.level is Level.BROKEN for finding in findings):
        raise typer.Exit(Exit.FAILED)
