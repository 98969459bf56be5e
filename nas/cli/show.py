"""The command that draws: show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import AsJson, Place

if TYPE_CHECKING:
    from nas.cli.picture import Picture


def show(
    what: Annotated[
        str, typer.Argument(metavar="ID|FILE", help="A search, or a JSON file with a candidate.", show_default=False)
    ] = "last",
    trial: Annotated[
        int | None, typer.Argument(metavar="TRIAL", help="Which trial; otherwise the winner.", show_default=False)
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(metavar="SPACE", help="The space of a candidate in a file: pnas, or '{name: pnas, blocks: 3}'."),
    ] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw it as SVG.", show_default=False)] = None,
    part: Annotated[
        str | None, typer.Option(metavar="PART", help="Only this part: normal, reduction, network, ...")
    ] = None,
    journal: Place = None,
    json: AsJson = False,
) -> None:
    """Draw a network, of a trial or of a candidate in a file."""
    from nas.cli.output import remark, write, write_json

    if Path(what).exists() or what.endswith(".json") or "/" in what:
        picture = _of_file(Path(what), space)
    else:
        picture = _of_search(what, trial, journal)
    picture = picture.only(part)
    if json:
        write_json(picture.json())
    else:
        write(picture.text(_width()))
    for path in picture.write_svg(svg) if svg is not None else ():
        remark(f"drawn in {path}")


def _of_search(given: str, trial: int | None, journal: str | None) -> Picture:
    from nas.api import winner
    from nas.cli.lookup import find, find_trial, history, opened
    from nas.cli.picture import draw
    from nas.recorded import current_plan
    from nas.summary import objectives
    from workers.errors import NotFoundError

    with opened(journal) as log:
        header = find(log, given)
        known = history(log, header)
        record = winner(known, objectives(header.job)) if trial is None else find_trial(known, header.search, trial)
        if record is None:
            raise NotFoundError(f"{header.search} has no completed trial yet: name a trial (`nas trials` lists them)")
        plan = current_plan(log, header.search)
    return draw(f"{header.search}, trial {record.trial.id}", plan.space, record.trial.candidate, plan.task.signature)


def _of_file(path: Path, space: str | None) -> Picture:
    from nas.cli.picture import draw_file

    return draw_file(path, space)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((100, 24)).columns
