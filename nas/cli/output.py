"""Results on stdout: tables for people, JSON for programs; remarks on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from nas.printable import printable
from nas.strict import strict

Json: TypeAlias = Any  # as in `workers.trial`, which a message about a shadowed `workers` must do without

WIDE = 10_000  # columns where stdout is no terminal: a program that reads lines wants none of them folded


def write_json(value: Json) -> None:
    """`value` as strict JSON on stdout; numbers that JSON does not know become null."""
    sys.stdout.write(json.dumps(strict(value), indent=2, allow_nan=False) + "\n")


def write(text: str = "") -> None:
    """A line on stdout, at once: whoever reads the other end of a pipe waits for it."""
    _write(printable(text))


def remark(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"{printable(text)}\n")


def complain(text: str) -> None:
    """An error on stderr, marked as one."""
    mark = "\x1b[31merror:\x1b[0m" if sys.stderr.isatty() else "error:"
    sys.stderr.write(f"{mark} {printable(text)}\n")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Aligned columns on stdout, those named in `right` aligned to the right; whole lines where nobody looks."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        grid.add_column(title, justify="right" if title in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(printable, row))
    width = None if sys.stdout.isatty() else WIDE
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as drawn:
        console.print(grid)
    for line in drawn.get().splitlines():
        _write(line.rstrip())


def pairs(items: Mapping[str, str]) -> None:
    """Names and values in two columns on stdout; a value of several lines keeps its column."""
    width = max(map(len, items), default=0)
    for name, value in items.items():
        first, *rest = value.splitlines() or [""]
        write(f"{name:<{width}}  {first}".rstrip())
        for line in rest:
            write(f"{'':<{width}}  {line}".rstrip())


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
