"""Columns: which column of a file of trainings is what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True)
class Columns:
    """Which columns are the decisions, the value to search by, the value to report, the seconds of a full training.

    A wide file has a row per candidate; `fidelities` and `costs` name the columns of shorter trainings and of their
    seconds, by epochs. A long one has a row per training, its epochs in `fidelity_column`. In both, `repeat_column`
    numbers the repeats. `ordered` decisions are numbers, all others categories. `where` keeps the rows that have one
    of the values for each column. `epochs` is the length of a full training, where the file does not say it.
    """

    decisions: tuple[str, ...]
    search: str
    report: str
    minimize: bool = False
    cost: str | None = None
    ordered: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fidelities: Mapping[int, str] = field(default_factory=dict)
    costs: Mapping[int, str] = field(default_factory=dict)
    fidelity_column: str | None = None
    repeat_column: str | None = None
    epochs: int | None = None
    continued: bool = False

    @property
    def named(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        single = (self.search, self.report, self.cost, self.fidelity_column, self.repeat_column)
        several = (*self.decisions, *self.where, *self.fidelities.values(), *self.costs.values())
        return tuple(dict.fromkeys(name for name in (*several, *single) if name is not None))

    @property
    def shorter(self) -> dict[int, str]:
        """The columns of shorter trainings; the search column may stand among `fidelities` to say its length."""
        return {epochs: name for epochs, name in sorted(self.fidelities.items()) if name != self.search}

    @property
    def length(self) -> int | None:
        """The epochs of a full training as far as the columns say it; 1 where there is no shorter one.

        A fidelity that names the search column says it, and so do two names that differ in the number:
        `val12` and `val200_mean` are 12 and 200 epochs.
        """
        if self.epochs is not None:
            return self.epochs
        for epochs, name in self.fidelities.items():
            if name == self.search:
                return epochs
        if not self.fidelities:
            return 1
        for epochs, name in self.fidelities.items():
            for place in re.finditer(rf"(?<!\d){epochs}(?!\d)", name):
                found = re.match(rf"{re.escape(name[: place.start()])}(\d+)", self.search)
                if found and int(found[1]) > max(self.fidelities):
                    return int(found[1])
        return None
