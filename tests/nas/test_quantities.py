"""Durations, sizes, counts and metrics read well at every scale."""

from __future__ import annotations

import math

import pytest

from nas.quantities import count, counted, duration, metric, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (math.inf, "-"),
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (90, "1 min 30 s"),
        (3_600, "1 h 00 min"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 01 h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5 TiB")])
def test_size(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(9_999, "9999"), (10_000, "10 k"), (3_346_538, "3.35 M"), (2e20, "2.00e+20"), (math.inf, "infinitely many")],
)
def test_count(number: float, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.95333, "0.9533"), (120.0, "120"), (1e-7, "1e-07"), (math.nan, "nan")]
)
def test_metric(value: float | None, text: str) -> None:
    assert metric(value) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 trials"), (1, "1 trial"), (2_000_000, "2000000 trials"), (1.0, "1 trial"), (0.5, "0.5 trials")],
)
def test_counted(number: float, text: str) -> None:
    assert counted(number, "trial") == text
