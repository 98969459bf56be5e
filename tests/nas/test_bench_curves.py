"""Statistics over runs against numpy and scipy; what is said where runs have no incumbent; the drawing."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from statistics import median

import numpy as np
import pytest
from bench_tables import line
from hypothesis import given
from hypothesis import strategies as st

from nas.bench.curves import Curves, Reached
from nas.bench.outcome import TOPS, curves, outcome
from nas.bench.plot import plot
from nas.bench.run import Contest
from nas.bench.trace import Known, Trace

stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
matrices = st.integers(1, 7).flatmap(
    lambda trials: st.lists(
        st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=trials, max_size=trials), min_size=2, max_size=9
    )
)


def traced(search: Known, rank: Known | None = None, seconds: tuple[float, ...] | None = None) -> Trace:
    none: Known = (None,) * len(search)
    times = seconds or tuple(map(float, range(1, len(search) + 1)))
    return Trace(0, len(search), search, search, rank or none, rank or none, none, none, times)


@given(matrices)
def test_means_and_quartiles_are_those_of_numpy_and_errors_those_of_scipy(rows: list[list[float]]) -> None:
    found = Curves([traced(tuple(row)) for row in rows])
    matrix = np.array(rows)
    assert found.mean("search") == pytest.approx(matrix.mean(axis=0).tolist(), rel=1e-12, abs=1e-6)
    assert found.sem("search") == pytest.approx(stats.sem(matrix, axis=0).tolist(), rel=1e-9, abs=1e-6)
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
        wanted = np.quantile(matrix, share, axis=0).tolist()
        assert found.quantile("report", share) == pytest.approx(wanted, rel=1e-12, abs=1e-6)


def test_a_single_run_has_no_standard_error() -> None:
    found = Curves([traced((1.0, 2.0))])
    assert found.sem("search") == [None, None]
    assert found.mean("search") == found.quantile("search", 0.25) == [1.0, 2.0]


@pytest.mark.parametrize(("minimize", "low", "middle", "high"), [(False, None, 1.0, 2.0), (True, 1.0, 2.0, None)])
def test_a_run_without_incumbent_is_worse_than_all_and_leaves_no_mean(
    minimize: bool, low: float | None, middle: float, high: float | None
) -> None:
    found = Curves([traced((None,)), traced((1.0,)), traced((2.0,))], minimize)
    assert found.mean("search") == found.sem("search") == [None]
    assert found.quantile("search", 0.0 if not minimize else 0.5) == [low if not minimize else middle]
    assert found.quantile("search", 0.5) == [middle]
    assert found.quantile("search", 1.0) == [high]
    assert found.feasible == [2 / 3]
    assert Curves([traced((None,))] * 3, minimize).quantile("search", 0.5) == [None]


def test_between_a_run_with_and_one_without_incumbent_there_is_no_median() -> None:
    found = Curves([traced((None, 3.0)), traced((1.0, 4.0))])
    assert found.quantile("search", 0.5) == [None, 3.5]
    assert found.mean("search") == [None, 3.5]


def test_when_a_target_is_reached() -> None:
    rows = [(1.0, 2.0, 3.0), (3.0, 3.0, 3.0), (1.0, 3.0, 4.0), (None, 1.0, 2.0)]
    seconds = [(10.0, 20.0, 30.0), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), (0.0, 1.0, 2.0)]
    found = Curves([traced(row, seconds=times) for row, times in zip(rows, seconds, strict=True)])
    assert found.reached(3.0) == Reached(0.75, median([3, 1, 2, math.inf]), median([30, 1, 6, math.inf]))
    assert found.reached(4.0) == Reached(0.25, None, None)
    assert found.reached(5.0) == Reached(0.0, None, None)
    less = Curves([traced(row) for row in rows], minimize=True)
    assert less.reached(1.0) == Reached(0.75, median([1, math.inf, 1, 2]), median([1, math.inf, 1, 2]))


def test_the_share_of_runs_among_the_best_rows() -> None:
    found = Curves([traced((1.0, 1.0), rank=(5.0, 4.0)), traced((1.0, 1.0), rank=(None, 0.0))])
    assert found.top(5) == [0.0, 1.0]
    assert found.top(1) == [0.0, 0.5]
    assert found.reached_top(5) == Reached(1.0, 2.0, 2.0)
    assert found.reached_top(1) == Reached(0.5, None, None)


def test_an_outcome_has_one_entry_per_trial() -> None:
    traces = {"a": [traced((None, 1.0, 2.0), rank=(None, 2.0, 1.0))] * 2, "b": [traced((3.0, 3.0, 3.0))] * 2}
    found = outcome(line([1.0, 2.0, 3.0]), Contest(3, 4), traces, target=2.0)
    assert (found["runs"], found["trials"], found["workers"], found["target"]) == (2, 3, 4, 2.0)
    one = found["strategies"]["a"]
    assert one["search_mean"] == one["report_median"] == [None, 1.0, 2.0]
    assert one["rank_median"] == one["search_rank_median"] == [None, 2.0, 1.0]
    assert one["virtual_seconds_mean"] == [1.0, 2.0, 3.0]
    assert one["reached_target"] == {"share": 1.0, "trials": 3.0, "seconds": 3.0}
    assert set(one["top"]) == set(one["reached_top"]) == set(map(str, TOPS))
    series = [key for key, value in one.items() if isinstance(value, list)]
    assert all(len(one[key]) == 3 for key in series)
    assert {f"{a}_{b}" for a in ("search", "report", "search_regret", "report_regret") for b in ("mean", "q25")} <= set(
        series
    )


def test_a_drawing_is_svg_with_a_line_and_a_band_for_each() -> None:
    table = line([1.0, 2.0, 3.0])
    found = {
        "a & b": curves(table, [traced((None, 1.0, 2.0)), traced((1.0, 1.0, 3.0))]),
        "c": curves(table, [traced((3.0, 3.0, 3.0))]),
        "never": curves(table, [traced((None, None, None))]),
    }
    drawn = plot("a <title>", found, {"search": "best value", "report": "reported"})
    root = ElementTree.fromstring(drawn)
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"
    classes = [str(one.get("class")) for one in root.iter(f"{name}path")]
    assert [classes.count(f"line s{place}") for place in range(3)] == [2, 2, 2]
    assert sum(one.startswith("band") for one in classes) == 4, "a panel each for those that have one"
    said = [str(one.text) for one in root.iter(f"{name}text")]
    assert said.count("a & b") == said.count("c") == 2
    assert {"a <title>", "best value", "reported"} <= set(said)
    assert plot("empty", {"never": found["never"]}, {"search": "best"}).startswith("<svg")
