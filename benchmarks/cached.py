"""Cached: a searcher whose searches are kept in a folder, so that a figure can be made again, or extended, at once."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import final

from rivals.rival import Rival

from nas.bench.run import Contest, Contestant, Told
from nas.bench.table import Table, World

ROOT = Path(__file__).resolve().parent.parent
OWN = ("nas.", "parameter_server.", "rivals.")


@final
@dataclass(frozen=True)
class Cached:
    """Calling it reads the search, or makes and keeps it.

    The beginning of a longer search is a search, too. A kept search counts only while the searcher's code, the version
    of the package it calls, and the values of the table are what they were; comments and docstrings may change.
    """

    searcher: Contestant | Rival
    folder: Path

    def __call__(self, table: Table, contest: Contest, seed: int) -> Sequence[Told]:
        """One search."""
        path = self.place(table, contest, seed)
        for kept in (path, *self._longer(table, contest, seed)):
            if kept.exists() and (found := self._read(kept, table, seed)) is not None:
                return found[: contest.trials]
        told = self.searcher(table, contest, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(".new")
        written.write_text(json.dumps({"code": code(self.searcher), "told": [_plain(one) for one in told]}))
        written.replace(path)
        return told

    def place(self, table: Table, contest: Contest, seed: int) -> Path:
        """The file of one search."""
        size = f"{contest.trials}" if contest.workers == 1 else f"{contest.trials}x{contest.workers}"
        return self.folder / table.name.replace("/", "-") / label(self.searcher) / size / f"{seed}.json"

    def _longer(self, table: Table, contest: Contest, seed: int) -> list[Path]:
        """Searches with more trials, which began in the same way; with more workers they could not."""
        folder = self.place(table, contest, seed).parent.parent
        if contest.workers != 1 or not folder.is_dir():
            return []
        sizes = sorted(int(one.name) for one in folder.iterdir() if one.name.isdigit())
        return [folder / str(size) / f"{seed}.json" for size in sizes if size > contest.trials]

    def _read(self, path: Path, table: Table, seed: int) -> Sequence[Told] | None:
        record = json.loads(path.read_text())
        told = [Told(tuple(row), *rest) for row, *rest in record["told"]]
        world = World(table, seed)
        fits = all(_fits(table, world, one) for one in told)
        return told if fits and record["code"] == code(self.searcher) else None


def label(searcher: Contestant | Rival) -> str:
    """The searcher in the name of a folder."""
    if isinstance(searcher, Rival):
        return searcher.name
    options = "".join(f",{key}={value}" for key, value in sorted(searcher.options.items()))
    return f"{searcher.name}{options}{',bare' if searcher.bare else ''}".replace("/", "-")


def code(searcher: Contestant | Rival) -> str:
    """A digest of what decides: the searcher's file and those of ours that it imports; and the package it calls."""
    if isinstance(searcher, Rival):
        return digest(f"rivals.{searcher.name}") + f" {searcher.package}".rstrip()
    return digest(f"nas.strategies.{searcher.name}")


@cache
def digest(module: str) -> str:
    """Of the syntax of a module and of all that it imports among `OWN`, without docstrings."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in seen or path is None or not name.startswith(OWN):
            continue
        tree = ast.parse(path.read_text())
        waiting += _imported(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        seen[name] = ast.dump(tree)
    return hashlib.sha256(json.dumps(sorted(seen.items())).encode()).hexdigest()[:16]


def _file(module: str) -> Path | None:
    relative = module.replace(".", "/")
    places = [base / f"{relative}{end}" for base in (ROOT, ROOT / "benchmarks") for end in (".py", "/__init__.py")]
    return next((path for path in places if path.exists()), None)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{one.name}" for one in node.names)


def _plain(told: Told) -> list[object]:
    return [list(told.row), told.epochs, told.gain, told.seconds]


def _fits(table: Table, world: World, told: Told) -> bool:
    """Whether the table still says what it said in this run; a shorter training is taken on trust."""
    if told.epochs != table.epochs:
        return True
    return told.gain == (world.gain(told.row) if told.row in table.feasible else None)
