"""Paired tests against enumeration and against other people's implementations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.bench.comparison import compare, holm, wilcoxon
from nas.bench.trace import Known, Trace

stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
few = st.lists(st.integers(-6, 6).map(float), max_size=8)
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def traced(*report_regret: float | None) -> list[Trace]:
    none: Known = (None,)
    return [Trace(i, 1, none, none, none, none, (0.0,), (one,), (0.0,)) for i, one in enumerate(report_regret)]


def enumerated(differences: Sequence[float]) -> float:
    """The p value by trying all signs: how often the rank sums are as far apart as they are."""
    known = [one for one in differences if one != 0]
    if not known:
        return 1.0
    sizes = [abs(one) for one in known]
    ranks = [sum(b < a for b in sizes) + (sizes.count(a) + 1) / 2 for a in sizes]
    here = abs(sum(math.copysign(rank, one) for rank, one in zip(ranks, known, strict=True)))
    signs = product((1, -1), repeat=len(ranks))
    apart = [abs(sum(sign * rank for sign, rank in zip(one, ranks, strict=True))) >= here for one in signs]
    return sum(apart) / len(apart)


@settings(max_examples=40)
@given(few)
def test_few_differences_are_tested_by_all_their_signs(differences: list[float]) -> None:
    assert wilcoxon(differences)[1] == pytest.approx(enumerated(differences))


@settings(max_examples=20)
@given(st.lists(st.integers(-6, 6).map(float), max_size=5), st.sampled_from([0.1, 1e-9, 3e7]))
def test_neither_scale_nor_rounding_matters(differences: list[float], scale: float) -> None:
    lead, p = wilcoxon(differences)
    assert wilcoxon([one * scale for one in differences]) == pytest.approx((lead, p))
    if scale > 1e-6:
        assert wilcoxon([(one * scale + 1.0 / 3) - 1.0 / 3 for one in differences]) == pytest.approx((lead, p))
    assert wilcoxon([-one for one in differences])[0] == -lead


def test_the_lead_is_the_share_of_ranks_won_less_that_lost() -> None:
    assert wilcoxon([1.0, 2.0, 3.0]) == (1.0, 0.25)
    assert wilcoxon([0.0, 0.0]) == wilcoxon([]) == (0.0, 1.0)
    assert wilcoxon([1.0, -2.0, 3.0, 4.0])[0] == pytest.approx((1 - 2 + 3 + 4) / 10)


def test_many_differences_are_tested_as_scipy_does() -> None:
    many = [math.sin(i * i) + 0.3 for i in range(200)]
    assert wilcoxon(many)[1] == pytest.approx(stats.wilcoxon(many).pvalue)
    rough = [float(round(one * 3)) for one in many]
    assert wilcoxon(rough)[1] == pytest.approx(stats.wilcoxon(rough, method="asymptotic").pvalue)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.9]) == [1.0, 1.0]


@given(probabilities)
def test_holm_is_the_closed_test_of_bonferroni(ps: list[float]) -> None:
    """Corrected is the largest p value of any set of hypotheses with this one in it, each set tested by Bonferroni."""
    sets = [one for size in range(1, len(ps) + 1) for one in combinations(range(len(ps)), size)]
    of_sets = {one: min(1.0, len(one) * min(ps[place] for place in one)) for one in sets}
    wanted = [max(p for one, p in of_sets.items() if place in one) for place in range(len(ps))]
    assert holm(ps) == pytest.approx(wanted)


@pytest.mark.slow
def test_holm_is_that_of_statsmodels(require: Callable[[str, bool, str], None]) -> None:
    require("rivals", find_spec("statsmodels") is not None, "statsmodels is not installed")
    from statsmodels.stats.multitest import multipletests

    @given(probabilities)
    def agree(ps: list[float]) -> None:
        assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1].tolist())

    agree()


def test_pairs_are_compared_run_by_run_and_corrected_together() -> None:
    good = [0.1 * i for i in range(10)]
    traces = {
        "bad": traced(*(one + 1 + 0.01 * i for i, one in enumerate(good))),
        "good": traced(*good),
        "same": traced(*good),
    }
    found = {(one.first, one.second): one for one in compare(traces)}
    assert list(found) == [("bad", "good"), ("bad", "same"), ("good", "same")]
    lost, equal = found["bad", "good"], found["good", "same"]
    assert (lost.wins, lost.ties, lost.losses, lost.lead, lost.better) == (0, 0, 10, -1.0, "good")
    assert lost.difference == pytest.approx(-1.045)
    assert lost.sem == pytest.approx(stats.sem([0.01 * i for i in range(10)]))
    assert lost.p_alone == pytest.approx(2 / 2**10)
    assert lost.p == pytest.approx(3 * 2 / 2**10), "three tests were made together"
    assert (equal.ties, equal.difference, equal.p, equal.better) == (10, 0.0, 1.0, None)
    alone = compare(traces, against="same")
    assert [(one.first, one.p) for one in alone] == [("bad", pytest.approx(2 * 2 / 2**10)), ("good", 1.0)]
    assert [one.p for one in compare(traces, "search")] == [1.0, 1.0, 1.0]


def test_a_run_without_incumbent_loses_against_any_other_by_most() -> None:
    traces = {"some": traced(None, 0.5, None, 9.0), "all": traced(5.0, 0.4, None, 0.0)}
    (found,) = compare(traces)
    assert (found.wins, found.ties, found.losses) == (0, 1, 3)
    assert (found.difference, found.sem) == (None, None)
    assert found.p_alone == pytest.approx(enumerated([-14.0, -0.1, 0.0, -9.0]))
