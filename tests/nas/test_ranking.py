"""The Pareto front, against its definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.ranking import crowding, dominates, front, fronts, ordered, ranked
from workers.objectives import Direction, Objective

GOOD = Objective("good", Direction.MAXIMIZE)
COST = Objective("cost", Direction.MINIMIZE)
points = st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 3), max_size=30)


@given(points)
def test_the_front_is_what_nothing_dominates(found: list[tuple[float, ...]]) -> None:
    expected = {i for i, one in enumerate(found) if not any(dominates(other, one) for other in found)}
    assert set(front(found)) == expected


@given(points)
def test_the_front_begins_with_the_best_by_the_first_number(found: list[tuple[float, ...]]) -> None:
    order = front(found)
    assert [found[i][0] for i in order] == sorted((found[i][0] for i in order), reverse=True)
    assert not order or found[order[0]][0] == max(point[0] for point in found)


@given(st.integers(1, 4).flatmap(lambda axes: st.lists(st.tuples(*[st.integers(0, 4).map(float)] * axes), max_size=30)))
def test_fronts_come_off_one_after_the_other(found: list[tuple[float, ...]]) -> None:
    left = set(range(len(found)))
    for members in fronts(found):
        assert set(members) == {i for i in left if not any(dominates(found[j], found[i]) for j in left)}
        assert len(members) == len(set(members))
        left -= set(members)
    assert not left


def test_crowding_is_the_way_from_neighbour_to_neighbour() -> None:
    line = [(0.0, 10.0), (4.0, 2.0), (1.0, 8.0), (5.0, 0.0)]
    assert crowding(line) == pytest.approx([math.inf, 4 / 5 + 8 / 10, 4 / 5 + 8 / 10, math.inf])
    assert crowding([(1.0, 1.0)] * 3) == [math.inf, 0.0, math.inf]
    assert crowding([]) == []


@given(points)
def test_the_order_is_by_front_then_by_solitude(found: list[tuple[float, ...]]) -> None:
    order = ordered(found)
    assert sorted(order) == list(range(len(found)))
    layers = fronts(found)
    assert [i in layers[0] for i in order[: len(layers[0])]] == [True] * len(layers[0]) if layers else order == []
    for members in layers:
        alone = dict(zip(members, crowding([found[i] for i in members]), strict=True))
        distances = [alone[i] for i in order if i in alone]
        assert distances == sorted(distances, reverse=True)


def test_one_number_orders_by_itself() -> None:
    assert ordered([(1.0,), (3.0,), (2.0,), (3.0,)]) == [1, 3, 2, 0]


def test_one_objective_ranks_all_and_several_give_the_front() -> None:
    metrics = [
        {"good": 1.0, "cost": 1.0},
        {"good": 2.0, "cost": 2.0},
        {"good": 1.5, "cost": 3.0},
        {"good": float("nan")},
    ]
    assert ranked(range(4), metrics.__getitem__, [GOOD]) == [1, 2, 0]
    assert ranked(range(4), metrics.__getitem__, [COST]) == [0, 1, 2]
    assert ranked(range(4), metrics.__getitem__, [GOOD, COST]) == [1, 0]
