"""The grid against a plain enumeration, and the shuffle against what a permutation is."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from scipy.stats import chisquare
from test_decisions import tables

from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decision import Choice, Decision, Range, Value, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.grid import Grid
from search_spaces.shuffle import FEW, Shuffle


def enumerated(table: dict[str, Decision]) -> list[Candidate]:
    """Every combination of points, without those of inactive decisions, in the order of nested loops."""
    found: dict[tuple[tuple[str, type, Value], ...], Candidate] = {}
    for combination in product(*(decision.points for decision in table.values())):
        chosen: dict[str, Value] = {}
        for (name, decision), value in zip(table.items(), combination, strict=True):
            if decision.when is None or decision.when.holds(chosen):
                chosen[name] = value
        found.setdefault(tuple((name, type(value), value) for name, value in chosen.items()), Candidate(chosen))
    return list(found.values())


@given(tables(largest=5))
def test_lists_every_candidate_on_the_grid_once_and_in_order(table: dict[str, Decision]) -> None:
    grid = Grid(Decisions(table))
    wanted = enumerated(table)
    assert grid.size == len(wanted)
    assert list(grid) == wanted
    assert [[*one.items()] for one in grid] == [[*one.items()] for one in wanted], "the decisions stand in their order"


@pytest.mark.parametrize("index", [-1, 6])
def test_has_no_other_numbers(index: int) -> None:
    with pytest.raises(IndexError, match=f"{index} is no number of a grid of 6 candidates"):
        Grid(Decisions({"a": Choice((1, 2)), "b": Choice((1, 2, 3))}))[index]


def test_a_huge_grid_is_not_listed() -> None:
    table: dict[str, Decision] = {f"rate{i}": Range(0.0, 1.0, count=10) for i in range(300)}
    table["last"] = Choice(("a", "b"), When.at_least("rate0", 0.5))
    grid = Grid(Decisions(table))
    assert grid.size == 15 * 10**299
    assert set(grid[0].values()) == {0.0}
    assert set(grid[grid.size - 1].values()) == {1.0, "b"}


def test_counts_a_space_as_its_table_does() -> None:
    decisions = PnasSpace().decisions
    assert Grid(decisions).size == decisions.size()


@pytest.mark.parametrize("size", [1, 2, 3, 100, FEW, FEW + 1, 2048, 4095, 5000])
def test_a_shuffle_is_a_permutation(size: int) -> None:
    orders = [[Shuffle(size, seed)[place] for place in range(size)] for seed in (1, 2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(size))
    assert orders[0] != orders[1] or size < 4


def test_every_order_of_a_few_is_as_likely() -> None:
    orders = Counter(tuple(Shuffle(4, seed)[place] for place in range(4)) for seed in range(6000))
    assert len(orders) == 24
    assert chisquare(list(orders.values())).pvalue > 1e-3


@pytest.mark.parametrize("size", [FEW * 3, 10**90])
def test_any_number_may_stand_anywhere(size: int) -> None:
    shuffles = [Shuffle(size, seed) for seed in range(400)]
    pairs = Counter((one[0] * 4 // size, one[size // 2] * 4 // size) for one in shuffles)
    assert len(pairs) == 16
    assert chisquare(list(pairs.values())).pvalue > 1e-3
    steps = Counter((shuffles[0][place + 1] - shuffles[0][place]) % size * 8 // size for place in range(400))
    assert chisquare(list(steps.values())).pvalue > 1e-3


def test_shuffles_more_than_there_are_atoms() -> None:
    size = 10**90
    places = [Shuffle(size, 1)[place] for place in range(200)]
    assert len(set(places)) == 200
    assert all(0 <= place < size for place in places)
    assert 60 < sum(place < size // 2 for place in places) < 140
    with pytest.raises(IndexError, match="is no place"):
        Shuffle(size, 1)[size]
