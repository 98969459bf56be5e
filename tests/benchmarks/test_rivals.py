"""Somebody else's methods on a small table, and that the reference evolution is what it claims to be."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise, product

import pytest
from rivals import reference_evolution
from rivals.problem import Problem
from rivals.rival import NAMES, Rival

from nas.bench.run import Contest
from nas.bench.table import Key, Row, Table, Training, World, objective
from search_spaces.decision import Choice, Range
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError

SLOW = ("syne_tune_cqr", "syne_tune_bore")
RATES, KINDS = (0.001, 0.01, 0.1, 1.0), ("a", "b", "c")
WIDE = Decisions({f"d{i}": Choice(("x", "y", "z")) for i in range(12)})


def small(minimize: bool) -> Table:
    """Twelve candidates of a number, a category and a switch; one in twelve cannot be trained."""
    names = {"rate": Choice(RATES, ordered=True), "kind": Choice(KINDS), "wide": Choice((False, True))}
    keys = [key for key in product(RATES, KINDS, (False, True)) if key != (0.1, "b", True)]
    rows: dict[Key, Row] = {key: Row({1: (Training(float(i), 10.0),)}, float(i)) for i, key in enumerate(keys)}
    return Table("small", Decisions(names), objective("value", minimize), rows)


@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
@pytest.mark.parametrize("minimize", [False, True])
@pytest.mark.parametrize("name", [pytest.param(one, marks=pytest.mark.slow if one in SLOW else ()) for one in NAMES])
def test_a_rival_runs_fifteen_trials(name: str, minimize: bool, require: Callable[[str, bool, str], None]) -> None:
    """Every trial is told with the table's value and the seconds so far; equal seeds give equal searches."""
    needed = {"optuna": "optuna", "syne": "syne-tune"}.get(name.partition("_")[0], "numpy")
    require("rivals", _installed(needed), f"{needed} is not installed: pip install 'cellwright[benchmark]'")
    table = small(minimize)
    world = World(table, 0)
    found = Rival(name)(table, Contest(15), 3)
    assert len(found) == 15
    for one in found:
        feasible = one.row in table.feasible
        assert one.gain == (world.gain(one.row) if feasible else None)
        assert one.epochs == 1
    paid = [0.0, *(one.seconds for one in found)]
    costs = [10.0 if one.row in table.feasible else 0.0 for one in found]
    assert [b - a for a, b in pairwise(paid)] == costs
    assert list(found) == list(Rival(name)(table, Contest(15), 3))
    assert len({one.row for one in found}) > 4


def test_a_rival_has_one_worker_and_plain_choices() -> None:
    """What an adapter cannot do is said."""
    with pytest.raises(UserError, match="8 workers, but is run with one only"):
        Rival("reference_evolution")(small(False), Contest(5, workers=8), 0)
    problem = Problem(Decisions({"rate": Range(0.1, 1.0)}), lambda candidate: 0.0)
    with pytest.raises(UserError, match="tables of plain choices only"):
        reference_evolution.search(problem, 5, 0)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the method stumbles over it, with the remedy."""
    monkeypatch.setattr(reference_evolution, "PACKAGE", "a-package-that-nobody-has")
    with pytest.raises(UserError, match=r"needs a-package-that-nobody-has: pip install 'cellwright\[benchmark\]'"):
        Rival("reference_evolution")(small(False), Contest(5), 0)


def changes(one: Candidate, other: Candidate) -> int:
    return sum(one[name] != other[name] for name in one)


def test_the_reference_lets_the_oldest_die_however_good() -> None:
    """Values fall with every trial, so whoever keeps the best keeps the first ten: here all parents are recent ones."""
    values = iter(range(0, -1000, -1))
    found = reference_evolution.search(Problem(WIDE, lambda candidate: float(next(values))), 300, 0)
    for place in range(10, 300):
        assert any(changes(found[place], one) == 1 for one in found[place - 10 : place])
    assert all(changes(found[299], one) > 1 for one in found[:10])


@pytest.mark.parametrize("minimize", [False, True])
def test_the_reference_takes_the_best_of_five(minimize: bool) -> None:
    """Of ten members the best of five is one of the six best, and is the best one in half of the draws."""
    seen: list[float] = []

    def value(candidate: Candidate) -> float:
        seen.append(float(hash_of(candidate)))
        return seen[-1]

    found = reference_evolution.search(Problem(WIDE, value, minimize), 400, 1)
    best = 0
    for place in range(10, 400):
        alive = list(range(place - 10, place))
        alive.sort(key=lambda i: seen[i], reverse=not minimize)
        ranks = [rank for rank, i in enumerate(alive) if changes(found[place], found[i]) == 1]
        assert min(ranks) < 6
        best += min(ranks) == 0
    assert 150 < best < 300


def hash_of(candidate: Candidate) -> int:
    """A value without any order in it, the same on every machine."""
    code = 0
    for value in candidate.values():
        code = (code * 31 + ord(str(value))) % 100_003
    return code * 7919 % 100_003


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
