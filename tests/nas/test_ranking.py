"""The Pareto front, against its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nas.ranking import dominates, front, ranked
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
