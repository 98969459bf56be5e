"""The command top: all running searches, live in the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.options import AsJson, Place

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nas.board import Board

TITLES = ("search", "state", "trials", "running", "best", "per hour", "slots", "improved", "driver")
RIGHT = ("trials", "running", "per hour", "slots", "improved")
CUT = ("search", "best", "driver")  # first, where the terminal has no room
WIDE = 100  # letters; narrower ones are not shown:
DROPPED = ("improved", "driver")
STYLES = {"running": "green", "failed": "red", "abandoned": "red", "damaged": "red"}


def top(
    once: Annotated[bool, typer.Option("--once", help="Print them once, and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="How often to look.")] = 2.0,
    journal: Place = None,
    json: AsJson = False,
) -> None:
    """Show all searches that run, or ended within the hour, as they go on; q or Ctrl-C ends it."""
    from nas.board import Board
    from nas.cli.lookup import opened
    from nas.cli.output import remark, table, write_json

    with opened(journal) as log:
        board = Board(log)
        if json:
            write_json(board.look())
        elif once or not sys.stdout.isatty():
            rows = board.look()
            if rows:
                table(TITLES, [_cells(row) for row in rows], RIGHT)
            else:
                remark("No search runs here, and none ended within the last hour.")
        else:
            _follow(board, interval)


def _follow(board: Board, interval: float) -> None:
    """Redraw until somebody has enough."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, markup=False, emoji=False)
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                live.update(_frame(board.look(), console.width), refresh=True)
                if pressed(interval) in ("q", "Q", "\x03", "\x04"):
                    return
        except KeyboardInterrupt:
            return


def _frame(rows: list[dict[str, Any]], width: int) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    running = sum(row["state"] == "running" for row in rows)
    busy, slots = sum(row["running"] for row in rows), sum(row["slots"] for row in rows)
    head = Text.assemble((f"{running} running", "bold"), f", {busy} of {slots} slots busy")
    grid = Table(box=None, pad_edge=False, header_style="dim")
    shown = [title for title in TITLES if width >= WIDE or title not in DROPPED]
    for title in shown:
        grid.add_column(title, justify="right" if title in RIGHT else "left", no_wrap=title not in CUT)
    for row in rows:
        cells, styles = dict(zip(TITLES, _cells(row), strict=True)), {"state": STYLES.get(row["state"], "dim")}
        grid.add_row(*(Text(cells[one], styles.get(one, ""), no_wrap=True, overflow="ellipsis") for one in shown))
    return Group(head, grid if rows else Text("No search runs here.", style="dim"), Text("q ends this", style="dim"))


def _cells(row: dict[str, Any]) -> list[str]:
    """One row as people read it."""
    from nas.printable import printable
    from nas.quantities import duration, score

    of = f" of {row['budget']}" if row["budget"] is not None else ""
    best = "-" if row["best"] is None else f"{score(row['metric'], row['best'])} {row['metric']}"
    pace = "-" if row["trials_per_hour"] is None else f"{row['trials_per_hour']:,.0f}"
    slots = f"{row['running']}/{row['slots']}" if row["slots"] else "-"
    improved = "-" if row["since_improvement"] is None else f"{duration(max(0.0, row['since_improvement']))} ago"
    trials = f"{row['done']}{of}"
    number, driver = str(row["running"]), row["driver"] or "-"
    cells = row["search"], row["state"], trials, number, best, pace, slots, improved, driver
    return [printable(cell) for cell in cells]


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """What waits so many seconds for a key, and gives it, or nothing; the terminal is put back afterwards."""
    import select
    import termios
    import time
    import tty

    def waited(seconds: float) -> str:
        time.sleep(seconds)
        return ""

    if not sys.stdin.isatty():
        yield waited
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([terminal], [], [], seconds)
        return (os.read(terminal, 1).decode("ascii", "replace") or "q") if ready else ""  # nothing: its end

    try:
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
