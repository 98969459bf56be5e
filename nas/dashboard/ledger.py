"""Ledger: the table of trials in columns, so that a page of it is found among a hundred thousand at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import final

from nas.history import TrialRecord
from nas.summary import trial_state
from workers.objectives import Direction, Objective

PAGE = 25  # rows
METRICS = 4  # columns of metrics
ORDERS = 8  # that are remembered
PLAIN = ("trial", "arm", "state", "epochs", "seconds")  # columns that every search has


@final
@dataclass(frozen=True)
class Query:
    """What of the table is wanted: an outcome, an arm, words of the candidate or the error; in which order; which page.

    `sort` is a column, or empty for the newest first; `down` turns the order round, pages are counted from 1.
    """

    state: str = ""
    arm: str = ""
    text: str = ""
    sort: str = ""
    down: bool = False
    page: int = 1


@final
@dataclass(frozen=True)
class Leaf:
    """One page of the table: its trials, which page it is of how many, and how many trials there are on all of them."""

    trials: tuple[int, ...]
    page: int
    pages: int
    total: int

    @property
    def first(self) -> int:
        """The place of its first trial, from 1; 0 where there is none."""
        return (self.page - 1) * PAGE + 1 if self.trials else 0

    @property
    def last(self) -> int:
        """The place of its last trial."""
        return (self.page - 1) * PAGE + len(self.trials)


@final
class Ledger:
    """What the table shows and sorts by, column by column; the places in them are those in which trials were asked."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = {one.metric: one for one in objectives}
        self.metrics: list[str] = list(self.objectives)
        self.numbers: list[int] = []
        self.arms: list[str] = []
        self.states: list[str] = []
        self.texts: list[str] = []
        self._plain: dict[str, list[float | None]] = {"epochs": [], "seconds": []}
        self._scores: dict[str, list[float | None]] = {name: [] for name in self.metrics}
        self._places: dict[int, int] = {}
        self._orders: dict[Query, tuple[int, Sequence[int]]] = {}
        self.changes = 0

    def asked(self, record: TrialRecord) -> None:
        """A strategy gave a trial."""
        self.changes += 1
        self._places[record.trial.id] = len(self.numbers)
        self.numbers.append(record.trial.id)
        self.arms.append(record.arm)
        self.states.append("waiting")
        text = str(record.trial.candidate.json())  # a hundred thousand: the quickest way to `name=value, name=value`
        self.texts.append(text.replace("': ", "=").replace("'", "").lower())
        for column in self._plain.values():
            column.append(None)
        for column in self._scores.values():
            column.append(None)

    def issued(self, record: TrialRecord) -> None:
        """A trial goes to a worker."""
        self.changes += 1
        if record.result is None:
            self.states[self._places[record.trial.id]] = "running"

    def note(self, record: TrialRecord) -> None:
        """An attempt at a trial is over."""
        self.changes += 1
        place, result = self._places[record.trial.id], record.result
        self.states[place] = trial_state(record)
        if result is None:
            return
        self._plain["epochs"][place] = float(result.epochs)
        self._plain["seconds"][place] = record.seconds
        for name, value in result.metrics.items():
            if name not in self._scores:
                if len(self._scores) >= METRICS or name.startswith("test_"):
                    continue
                self._scores[name] = [None] * len(self.numbers)
                self.metrics.append(name)
            self._scores[name][place] = value if math.isfinite(value) else None
        if result.error:
            self.texts[place] += f" {result.error.lower()}"

    def find(self, query: Query) -> Leaf:
        """The page of the table that a query asks for, the last one where it asks for a later one."""
        places = self._found(query)
        pages = max(1, math.ceil(len(places) / PAGE))
        page = min(max(1, query.page), pages)
        shown = places[(page - 1) * PAGE : page * PAGE]
        return Leaf(tuple(self.numbers[place] for place in shown), page, pages, len(places))

    @property
    def columns(self) -> tuple[str, ...]:
        """What can be sorted by."""
        return (*PLAIN, *self.metrics)

    def falls(self, query: Query) -> bool:
        """Whether the largest comes first: the best does, unless the order is turned round."""
        goal = self.objectives.get(query.sort)
        return (goal is not None and goal.direction is Direction.MAXIMIZE) is not query.down

    def _found(self, query: Query) -> Sequence[int]:
        """All places of a query in order; remembered while nothing changes, for who turns pages."""
        key = replace(query, page=1)
        known = self._orders.get(key)
        if known is None or known[0] != self.changes:
            if len(self._orders) >= ORDERS:
                del self._orders[next(iter(self._orders))]
            known = self._orders[key] = (self.changes, self._ordered(self._chosen(query), query))
        return known[1]

    def _chosen(self, query: Query) -> Sequence[int]:
        places: Sequence[int] = range(len(self.numbers))
        if query.state:
            states = self.states
            places = [place for place in places if states[place] == query.state]
        if query.arm:
            arms = self.arms
            places = [place for place in places if arms[place] == query.arm]
        for word in query.text.lower().split():
            texts = self.texts
            places = [place for place in places if word in texts[place]]
        return places

    def _ordered(self, places: Sequence[int], query: Query) -> Sequence[int]:
        """The places in their order: the best of a metric first, what has no value last in either order."""
        if query.sort not in self.columns:
            return places if query.down else places[::-1]
        if query.sort == "trial":
            return places[::-1] if query.down else places
        if query.sort in ("arm", "state"):
            words = self.arms if query.sort == "arm" else self.states
            return sorted(places, key=words.__getitem__, reverse=query.down)
        column = self._plain.get(query.sort) or self._scores.get(query.sort) or []
        known = [place for place in places if column[place] is not None]
        lacking = [place for place in places if column[place] is None]
        known.sort(key=column.__getitem__, reverse=self.falls(query))  # type: ignore[arg-type]
        return known + lacking


def arms_of(ledger: Ledger) -> Iterable[str]:
    """The arms there are, in the order in which they began."""
    return dict.fromkeys(ledger.arms)
