"""Fewer bytes on the wire: half precision as torch rounds it; the largest elements, and what they leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parameter_server.messages.compression import Feedback, TopK, narrowed, widened
from parameter_server.store import StoreError

TORCH = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def as_torch(values: Any, encoding: str) -> Any:
    """There and back with torch's casts."""
    return torch.from_numpy(values.copy()).to(TORCH[encoding]).to(torch.float32).numpy()


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50), st.sampled_from(sorted(TORCH)))
def test_half_precision_rounds_as_torch_does(bits: list[int], encoding: str) -> None:
    """Any float32 there is; and what would become infinite is told apart."""
    values = np.array(bits, np.uint32).view(np.float32)
    expected = as_torch(values, encoding)
    short = narrowed(values, encoding)
    assert (short is None) == bool((np.isinf(expected) & ~np.isinf(values)).any())
    if short is not None:
        assert short.itemsize == 2
        np.testing.assert_array_equal(widened(short, encoding), expected)


@pytest.mark.parametrize(
    ("encoding", "largest", "above"),
    [("bfloat16", 3.39617e38, 3.4e38), ("float16", 65519.996, 65520.0)],
)
def test_the_largest_number_that_stays_finite(encoding: str, largest: float, above: float) -> None:
    fits = narrowed(np.array([largest, -largest], np.float32), encoding)
    assert fits is not None
    assert np.isfinite(widened(fits, encoding)).all()
    assert narrowed(np.array([1, above], np.float32), encoding) is None
    assert narrowed(np.array([1, -above], np.float32), encoding) is None


@pytest.mark.parametrize("encoding", sorted(TORCH))
@pytest.mark.parametrize("bits", [0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF800001, 0x7F800000, 0xFF800000])
def test_what_is_not_finite_does_not_become_a_number(encoding: str, bits: int) -> None:
    short = narrowed(np.array([bits], np.uint32).view(np.float32), encoding)
    assert short is not None
    assert not np.isfinite(widened(short, encoding)).any()


def test_other_types_stay_as_they_are() -> None:
    values = np.arange(3, dtype=np.float64)
    assert widened(values, "float64") is values


def test_the_largest_elements_travel() -> None:
    assert TopK(0.5).largest(np.array([1.0, -5.0, 3.0, 0.0])).tolist() == [1, 2]
    assert TopK(0.001).largest(np.array([1.0, -5.0, 3.0, 0.0])).tolist() == [1]
    assert TopK(1).largest(np.array([1.0, 0.0])).tolist() == [0, 1]
    for fraction in (0.0, 1.5, -1.0, float("nan")):
        with pytest.raises(StoreError, match="above 0"):
            TopK(fraction)


@given(st.integers(0, 99), st.sampled_from([0.05, 0.3, 1.0]))
def test_what_travelled_and_what_is_owed_are_all_there_was(seed: int, fraction: float) -> None:
    """The sums telescope: nothing is lost but the rounding of integers, which has none."""
    generator = np.random.default_rng(seed)
    feedback, total, travelled = Feedback(TopK(fraction)), np.zeros(40), np.zeros(40)
    for number in range(20):
        gradient = generator.integers(-100, 100, 40).astype(np.float64)
        sparse = feedback.sparse(number, {"a": gradient})["a"]
        counted = bool(generator.random() < 0.7)
        feedback.settle(counted)
        if counted:
            travelled[sparse.places] += sparse.values
            total += gradient
    rest = feedback.rest("a")
    np.testing.assert_array_equal(travelled + (0 if rest is None else rest), total)


def test_a_push_that_is_sent_again_sends_the_same() -> None:
    feedback = Feedback(TopK(0.5))
    first = feedback.sparse(0, {"a": np.array([1.0, 2.0])})["a"]
    assert feedback.sparse(0, {"a": np.array([1.0, 2.0])})["a"] is first
    feedback.settle(counted=True)
    assert feedback.sparse(1, {"a": np.zeros(2)})["a"].values.tolist() == [1.0]


def test_a_gradient_that_is_not_finite_is_not_kept() -> None:
    feedback = Feedback(TopK(0.5))
    assert feedback.sparse(0, {"a": np.array([1.0, np.nan])}) == {}
    feedback.settle(counted=False)
    assert feedback.rest("a") is None


def test_with_feedback_gradient_descent_arrives_and_without_it_does_not() -> None:
    """Two losses `a . x` with large first elements that cancel: alone they always win, and the second never moves."""
    slopes = np.array([[4.0, -1.0], [-4.0, -1.0]])

    def descended(rounds: int, with_feedback: bool) -> float:
        x, feedback = np.zeros(2), Feedback(TopK(0.5))
        for number in range(rounds):
            sparse = feedback.sparse(number, {"x": slopes[number % 2]})["x"]
            feedback.settle(counted=with_feedback)
            x[sparse.places] -= 0.1 * sparse.values
        return float(x[1])

    assert descended(400, with_feedback=False) == 0.0
    assert descended(400, with_feedback=True) == pytest.approx(40.0, rel=0.02)  # 400 rounds of 0.1 * 1
