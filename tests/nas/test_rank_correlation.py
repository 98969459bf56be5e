from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from progressive import ACCURACY
from scipy.stats import spearmanr

from nas.history import Entry, History
from nas.surrogates.correlation import LevelCorrelation, rank_correlations, spearman
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial

numbers = st.integers(-5, 5).map(float)  # few values: many ties


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30))
def test_spearman_is_scipys(rows: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in rows], [b for _, b in rows]
    ours = spearman(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert ours is None
    else:
        assert ours == pytest.approx(spearmanr(first, second).statistic, abs=1e-9)


def test_spearman_of_nothing_is_none() -> None:
    assert spearman([], []) is None
    assert spearman([1.0], [2.0]) is None


def history(rows: list[tuple[dict[str, Json], float | None]]) -> History:
    """A journal of trials with these notes and accuracies (None: failed)."""
    entries = []
    for trial, (note, accuracy) in enumerate(rows):
        asked = Trial(trial, Candidate({"x": trial}), note=note)
        outcome = Outcome.FAILED if accuracy is None else Outcome.COMPLETED
        told = Result(trial, 1, outcome, {} if accuracy is None else {"accuracy": accuracy})
        entries += [Entry(0, 0.0, "ask", trial, asked.json()), Entry(0, 0.0, "tell", trial, told.json())]
    return History.of(entries)


def test_levels_are_read_from_the_notes() -> None:
    one: list[tuple[dict[str, Json], float | None]] = [({"level": 1}, 0.5), ({"level": 1}, 0.6)]
    two: list[tuple[dict[str, Json], float | None]] = [
        ({"level": 2, "predicted": 0.7, "fitted": 0.9}, 0.8),
        ({"level": 2, "predicted": 0.6, "fitted": 0.9}, 0.75),
        ({"level": 2, "predicted": 0.5, "fitted": 0.9}, 0.77),
        ({"level": 2, "predicted": 0.4, "fitted": 0.9}, None),
        ({"arm": "baseline"}, 0.1),
    ]
    first, second = rank_correlations(history(one + two), ACCURACY)
    assert first == LevelCorrelation(1, 2, None, 0.9)
    assert (second.level, second.count, second.fitted) == (2, 3, None)
    assert second.predicted == pytest.approx(0.5)
    assert rank_correlations(history([({}, 0.5)]), ACCURACY) == []
    assert math.isclose(spearmanr([0.7, 0.6, 0.5], [0.8, 0.75, 0.77]).statistic, 0.5)
