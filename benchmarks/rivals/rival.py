"""Rival: somebody else's method as a contestant of `nas.bench`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, final

from nas.bench.run import Contest, Told
from nas.bench.table import Table, World
from rivals.problem import Problem
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.trial import Attempt, Trial

if TYPE_CHECKING:
    from rivals.problem import Search

NAMES = (
    "optuna_tpe",
    "optuna_gp",
    "syne_tune_bore",
    "syne_tune_cqr",
    "syne_tune_kde",
    "random_forest",
    "reference_evolution",
)


@final
@dataclass(frozen=True)
class Rival:
    """The method in the file of this name, one worker."""

    name: str

    @property
    def package(self) -> str:
        """The distribution that it calls with its version, or nothing where it calls none."""
        return _installed(self.name, import_module(f"rivals.{self.name}").PACKAGE)

    def __call__(self, table: Table, contest: Contest, seed: int) -> Sequence[Told]:
        """Its trials; each takes the table's seconds, one after the other."""
        if contest.workers != 1:
            raise UserError(f"{self.name} is asked for {contest.workers} workers, but is run with one only")
        module = import_module(f"rivals.{self.name}")
        _installed(self.name, module.PACKAGE)
        search: Search = module.search
        told: list[Told] = []
        world, now, objective = World(table, seed), 0.0, table.objective

        def value(candidate: Candidate) -> float | None:
            nonlocal now
            epochs = table.epochs
            result = world(Attempt(Trial(len(told), candidate, epochs, epochs, seed=seed)))
            now += result.seconds
            found = result.metrics.get(objective.metric)
            gain = None if found is None else objective.gain(found)
            told.append(Told(table.key(candidate), epochs, gain, now))
            return found

        search(Problem(table.decisions, value, minimize=objective.gain(1.0) < 0), contest.trials, seed)
        return told


def _installed(rival: str, name: str) -> str:
    try:
        return f"{name} {version(name)}" if name else ""
    except PackageNotFoundError:
        raise UserError(f"{rival} needs {name}: pip install 'cellwright[benchmark]'") from None
