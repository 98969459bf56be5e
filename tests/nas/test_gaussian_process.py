"""The Gaussian process against scikit-learn, finite differences, scipy's integration and enumeration."""

from __future__ import annotations

import math
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from nas.surrogates.acquisition import log_expected_improvement, log_feasibility
from nas.surrogates.codes import INACTIVE, Codes
from nas.surrogates.evidence import Evidence, learnt_from, posterior
from nas.surrogates.gaussian_process import GaussianProcess
from nas.surrogates.kernel import Gram, Kernel
from nas.surrogates.moves import enumerated, mutated, neighbours
from nas.surrogates.targets import distances, normal_scores, targets
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Decisions

MIXED = Decisions(
    {
        "optimizer": Choice(("sgd", "adam", "lion")),
        "rate": Range(1e-4, 0.5, log=True),
        "momentum": Range(0.0, 0.99, when=When.equals("optimizer", "sgd")),
        "layers": Range(1, 40, integer=True, log=True),
        "units": Choice((1, 2, 4, 8), ordered=True, when=When.at_least("layers", 5)),
        "gate": Choice((True,), when=When.at_least("layers", 20)),
        "fixed": Choice(("a",)),
        **{f"edge_{i}": Choice(("skip", "conv", "pool")) for i in range(3)},
        "edge_3": Choice(("skip", "conv", "pool"), when=When.at_least("layers", 10)),
    }
)
FINITE = Decisions(
    {
        "kind": Choice(("a", "b", "c")),
        "size": Range(1, 4, integer=True, when=When.among("kind", "a", "b")),
        "step": Choice((1, 2, 3), ordered=True, when=When.at_least("size", 3)),
        "last": Choice((0, 1)),
    }
)
CODES = Codes(MIXED)
EDGES = {f"edge_{i}": "skip" for i in range(3)}


def rows(count: int, seed: int = 0) -> np.ndarray:
    return CODES.rows([MIXED.sample(Random(f"{seed}/{i}")) for i in range(count)])


def parameters(process: GaussianProcess, seed: int) -> np.ndarray:
    return process.start + 0.5 * np.random.default_rng(seed).standard_normal(len(process.start))


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_rows_stand_for_valid_candidates(seed: int) -> None:
    generator = np.random.default_rng(seed)
    drawn = CODES.sample(6, generator)
    for row in np.concatenate([drawn, mutated(CODES, drawn, generator), neighbours(CODES, drawn[:2], generator)]):
        candidate = CODES.candidate(row)
        assert MIXED.candidate(candidate) == candidate
        assert np.allclose(CODES.rows([candidate])[0], row, atol=1e-12)


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_a_candidate_comes_back_from_its_row(seed: int) -> None:
    candidate = MIXED.sample(Random(seed))
    again = CODES.candidate(CODES.rows([candidate])[0])
    assert list(again) == list(candidate)
    assert all(again[name] == pytest.approx(value) for name, value in candidate.items())


def test_neighbours_of_a_category_are_all_others() -> None:
    codes = Codes(FINITE)
    row = codes.rows([{"kind": "c", "last": 0}])
    found = {codes.candidate(one)["kind"] for one in neighbours(codes, row, np.random.default_rng(0))}
    assert found == {"a", "b", "c"}


def test_enumerates_every_candidate_once() -> None:
    codes = Codes(FINITE)
    found = [codes.candidate(row) for row in enumerated(codes)]
    assert len(found) == len(set(found)) == FINITE.size()
    assert all(FINITE.candidate(one) == one for one in found)


def test_sampling_rows_is_sampling_candidates() -> None:
    codes = Codes(FINITE)
    drawn = [codes.candidate(row) for row in codes.sample(20_000, np.random.default_rng(0))]
    generator = Random(0)
    expected = [FINITE.sample(generator) for _ in range(20_000)]
    for one in map(codes.candidate, enumerated(codes)):
        assert drawn.count(one) == pytest.approx(expected.count(one), abs=250)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_kernel_is_positive_with_ones_on_its_diagonal(seed: int) -> None:
    process = GaussianProcess(Kernel(CODES))
    matrix = process.kernel.between(parameters(process, seed)[1:], rows(25, seed), rows(25, seed))
    assert np.allclose(np.diag(matrix), 1.0)
    assert np.allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_the_gram_matrix_is_the_kernel() -> None:
    process = GaussianProcess(Kernel(CODES))
    chosen, given_rows = parameters(process, 3)[1:], rows(30)
    expected = process.kernel.between(chosen, given_rows, given_rows)
    assert np.allclose(Gram(process.kernel, given_rows).matrix(chosen)[0], expected)


def test_a_kernel_entry_by_hand() -> None:
    kernel = Kernel(Codes(Decisions({"kind": Choice(("a", "b")), "place": Range(0.0, 1.0)})))
    weights, length, share = np.array([0.7, 1.3]), 0.4, 0.25
    distance = math.sqrt(5) * 0.3 / length
    matern = (1 + distance + distance**2 / 3) * math.exp(-distance)
    product_ = math.exp(-0.7) * (math.exp(-1.3) + (1 - math.exp(-1.3)) * matern)
    expected = (product_ + share * 1.3 * matern / 2.0) / (1 + share)
    chosen = np.log([*weights, length, share])
    found = kernel.between(chosen, np.array([[0.0, 0.2]]), np.array([[1.0, 0.5]]))
    assert found[0, 0] == pytest.approx(expected, rel=1e-12)


def test_what_is_not_active_is_a_value_of_its_own() -> None:
    kernel = Kernel(CODES)
    sgd, adam = CODES.rows([{"optimizer": o, "rate": 0.1, "layers": 3, "fixed": "a"} | EDGES for o in ("lion", "adam")])
    assert sgd[CODES.columns.index(next(c for c in CODES.columns if c.name == "momentum"))] == INACTIVE
    chosen = np.concatenate([kernel.start[:-1], [-20.0]])  # the product alone
    both = kernel.between(chosen, sgd[None], adam[None])[0, 0]
    assert both == pytest.approx(math.exp(-math.exp(kernel.start[0])))  # they differ in the optimizer alone


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_that_of_finite_differences(seed: int) -> None:
    process = GaussianProcess(Kernel(CODES))
    gram, targets = Gram(process.kernel, rows(24, seed)), np.random.default_rng(seed).standard_normal(24)
    chosen = parameters(process, seed)
    _, gradient = process.loss(chosen, gram, targets)
    expected = approx_fprime(chosen, lambda one: process.loss(one, gram, targets)[0], 1e-6)
    assert np.allclose(gradient, expected, atol=2e-4)


def test_vectors_behind_the_codes_are_parts_of_the_kernel() -> None:
    behind = np.random.default_rng(1).standard_normal((20, 5))
    wide = np.concatenate([rows(20), behind], axis=1)
    groups = (np.array([0, 1]) + len(CODES), np.array([2, 3, 4]) + len(CODES))
    process = GaussianProcess(Kernel(CODES, groups))
    chosen = parameters(process, 1)
    gram, targets = Gram(process.kernel, wide), np.random.default_rng(2).standard_normal(20)
    assert np.allclose(gram.matrix(chosen[1:])[0], process.kernel.between(chosen[1:], wide, wide))
    assert process.kernel.apart(len(CODES.alike), wide, wide)[3, 4] == pytest.approx(math.dist(*behind[3:5, :2]))
    _, gradient = process.loss(chosen, gram, targets)
    expected = approx_fprime(chosen, lambda one: process.loss(one, gram, targets)[0], 1e-6)
    assert np.allclose(gradient, expected, atol=2e-4)


def test_the_posterior_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    codes = Codes(Decisions({"place": Range(0.0, 1.0)}))
    process = GaussianProcess(Kernel(codes))
    known, targets, new = generator.random((12, 1)), generator.standard_normal(12), generator.random((40, 1))
    chosen = np.array([math.log(0.05), 3.0, math.log(0.3), -20.0])  # a weight of exp(3) leaves the Matern kernel alone
    found = process.posterior(chosen, known, targets)
    mean, deviation = found.predict(new)
    theirs = GaussianProcessRegressor(Matern(0.3, nu=2.5), alpha=0.05 + 1e-6, optimizer=None)
    theirs.fit(known, targets - found.mean)
    expected, spread = theirs.predict(new, return_std=True)
    assert np.allclose(mean, found.mean + expected, atol=1e-6)
    assert np.allclose(deviation, math.sqrt(found.variance) * spread, atol=1e-6)
    assert found.noise == pytest.approx(math.sqrt(found.variance * (0.05 + 1e-6)))


def test_the_variance_and_the_mean_make_the_density_largest() -> None:
    process = GaussianProcess(Kernel(CODES))
    known, targets = rows(20), np.random.default_rng(1).standard_normal(20) + 2.0
    found = process.posterior(process.start, known, targets)
    covariance = process.kernel.between(process.start[1:], known, known) + (1e-2 + 1e-6) * np.eye(20)

    def density(mean: float, variance: float) -> float:
        residual = targets - mean
        square = residual @ np.linalg.solve(covariance, residual) + mean**2 + 2.0
        return float(0.5 * square / variance + 0.5 * (20 + 2) * math.log(variance))

    least = density(found.mean, found.variance)
    for mean, variance in product((-0.01, 0.01), (0.99, 1.01)):
        assert density(found.mean + mean, found.variance * variance) > least


def test_a_tally_counts_options_wherever_they_are() -> None:
    kernel = Kernel(Codes(Decisions({f"edge_{i}": Choice(("skip", "conv")) for i in range(4)})))
    one, other, far = np.array([[0.0, 1, 1, 0]]), np.array([[1.0, 0, 0, 1]]), np.array([[1.0, 1, 1, 1]])
    assert kernel.apart(0, one, other)[0, 0] == 0.0
    assert kernel.apart(0, one, far)[0, 0] == pytest.approx(math.sqrt(0.5))
    chosen = np.log([1e-4] * 4 + [2.0, 0.5, 1e-6])  # the tally alone counts
    assert kernel.between(chosen, one, other)[0, 0] == pytest.approx(1.0, abs=1e-3)
    assert kernel.between(chosen, one, far)[0, 0] < 0.5


def test_learns_which_decision_counts() -> None:
    codes = Codes(Decisions({f"d{i}": Choice(("a", "b", "c")) for i in range(4)} | {"x": Range(0.0, 1.0)}))
    process = GaussianProcess(Kernel(codes))
    known = codes.sample(60, np.random.default_rng(0))
    fitted = process.fitted(known, np.array([-1.0, 0.0, 1.2])[known[:, 1].astype(int)])
    weights = fitted[1:6]
    assert weights.argmax() == 1
    assert weights[1] > np.delete(weights, 1).max() + 1.0


@pytest.mark.parametrize("away", [-30.0, -6.0, -4.999, -1.0, 0.0, 2.5])
def test_expected_improvement_is_an_integral(away: float) -> None:
    deviation, best = 0.7, 1.3
    mean = best + away * deviation
    scale = norm.logpdf(away)

    def improvement(x: float) -> float:  # times exp(-scale), lest it vanish
        return float(x * deviation * math.exp(norm.logpdf(x - away) - scale))

    total, _ = quad(improvement, 0.0, max(away, 0.0) + 12.0, points=[max(away, 0.0), 0.1, 1.0], limit=200)
    found = log_expected_improvement(np.array([mean]), np.array([deviation]), best)
    assert found[0] == pytest.approx(math.log(total) + scale, abs=2e-3)


def test_feasibility_is_a_chance() -> None:
    found = np.exp(log_feasibility(np.array([0.0, 1.0, -30.0]), np.array([1.0, 0.5, 1.0])))
    assert found == pytest.approx(norm.cdf([0.0, 2.0, -30.0]))


@pytest.mark.parametrize("share", [0.0, 1.0])
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=30), st.sampled_from([1e-9, 1.0, 1e12]), st.integers(-3, 3))
@settings(max_examples=40, deadline=None)
def test_targets_keep_the_order_and_forget_the_unit(share: float, values: list[int], unit: float, origin: int) -> None:
    gains = np.array(values, dtype=np.float64)
    seen = targets(gains, share)
    assert np.isfinite(seen).all()
    order = np.argsort(gains, kind="stable")
    assert (np.diff(seen[order]) >= 0).all()
    for one, other in product(range(len(values)), repeat=2):
        assert (gains[one] == gains[other]) == (seen[one] == seen[other])
    assert np.allclose(targets(unit * (gains + origin), share), seen, atol=1e-6)


def test_no_outlier_takes_the_resolution_away() -> None:
    seen = distances(np.concatenate([np.linspace(0.90, 0.95, 40), [-1e9, 0.1]]))
    assert seen[39] - seen[20] > 0.2
    assert seen.min() > -10.0


def test_normal_scores_are_quantiles() -> None:
    gains = np.array([3.0, -1.0, 10.0, 3.0])
    assert normal_scores(gains) == pytest.approx(norm.ppf([0.5, 0.125, 0.875, 0.5]))


def test_numbers_are_seen_in_proportion() -> None:
    gains = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    seen = np.diff(targets(gains, categorical=0.0)[3:])
    assert seen == pytest.approx(seen[0])
    assert np.ptp(np.diff(targets(gains, categorical=1.0)[3:])) > 0.01


@given(st.integers(1, 5_000))
def test_parameters_are_fitted_now_and_then(count: int) -> None:
    fitted = learnt_from(count)
    assert 0.9 * count - 1 <= fitted <= count
    assert learnt_from(fitted) == fitted


def test_bounded_evidence_keeps_the_best() -> None:
    targets = np.random.default_rng(0).permutation(1_000).astype(np.float64)
    kept = Evidence(targets[:, None], targets).bounded(100)
    assert len(kept) == 100
    assert set(range(950, 1_000)) <= set(kept.targets)
    assert kept.targets.min() < 100
    assert (kept.rows[:, 0] == kept.targets).all()


def test_what_runs_leaves_the_mean_and_takes_the_doubt() -> None:
    process = GaussianProcess(Kernel(CODES))
    known, pending = rows(20), rows(5, seed=9)
    evidence = Evidence(known, np.random.default_rng(0).standard_normal(20))
    before = posterior(process, process.start, evidence, pending[:0]).predict(pending)
    after = posterior(process, process.start, evidence, pending).predict(pending)
    assert np.allclose(after[0], before[0], atol=0.05)
    assert (after[1] < 0.5 * before[1]).all()
