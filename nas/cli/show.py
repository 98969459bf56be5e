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
    trial: Annotated[int | None, typer.Option(metavar="N", help="Which trial; otherwise the winner.")] = None,
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

    picture = _picture(what, trial, space, journal).only(part)
    if json:
        write_json(picture.json())
    else:
        write(picture.text(_width()))
    for path in picture.write_svg(svg) if svg is not None else ():
        remark(f"drawn in {path}")


def _picture(what: str, trial: int | None, space: str | None, journal: str | None) -> Picture:
    """What to draw: a bare word is a search before it is a folder, since exports are named after searches."""
    from workers.errors import NotFoundError, UserError

    if not Path(what).is_file() and not what.endswith(".json") and "/" not in what:
        try:
            return _of_search(what, trial, journal)
        except NotFoundError:
            if trial is not None or not (Path(what) / "architecture.json").is_file():
                raise
    if trial is not None:
        raise UserError(f"{what} is one network without trials: leave --trial {trial} out, or name a search")
    return _of_file(Path(what), space)


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
