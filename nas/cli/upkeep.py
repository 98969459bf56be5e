"""Commands that look after a machine: gc, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.exits import Exit
from nas.cli.options import AsJson, Place

if TYPE_CHECKING:
    from nas.cli.output import Json
    from nas.leftovers import Leftovers


def gc(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove them; otherwise only say what would go.")] = False,
    quota: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove more, until each search's files fit: 500 MB, 20 GiB."),
    ] = None,
    journal: Place = None,
    json: AsJson = False,
) -> None:
    """Remove checkpoints that no search refers to; without --yes only say which.

    Kept are the files of the retrained and the tested, of unfinished trials, and of the ten best of each search.
    """
    from nas.cli.lookup import opened
    from nas.cli.output import remark, table, write_json
    from nas.cli.settings import bytes_of
    from nas.leftovers import leftovers
    from nas.quantities import size

    limit = None if quota is None else bytes_of(quota)
    with opened(journal) as log:
        found = list(leftovers(log, limit))
    for one in found if yes else ():
        one.remove()
    if json:
        write_json([_record(one, yes) for one in found])
        return
    rows = [[one.search, str(len(one.files)), size(one.bytes), size(one.kept), one.skipped] for one in found]
    if rows:
        table(["search", "files", "free", "kept", ""], rows, right=("files", "free", "kept"))
    total = sum(one.bytes for one in found)
    if yes:
        remark(f"{size(total)} freed.")
    elif total:
        remark(f"{size(total)} can be freed: nas gc --yes" + (f" --quota {quota!r}" if quota else ""))
    else:
        remark("There is nothing to remove.")


def _record(one: Leftovers, removed: bool) -> dict[str, Json]:
    return {
        "search": one.search,
        "files": len(one.files),
        "bytes": one.bytes,
        "kept_bytes": one.kept,
        "removed": removed and not one.skipped,
        "skipped": one.skipped or None,
    }


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
