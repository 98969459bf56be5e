"""Charts: round ticks inside the scale, places in order, steps and dots where the numbers say."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.reports.chart import LONGEST, Axis, Dots, Layer, Line, Scale, chart, linear_ticks

finite = st.floats(-1e9, 1e9, allow_nan=False, allow_infinity=False)
SVG = ""  # inside a page its elements have no namespace of their own


@given(finite, st.floats(1e-3, 1e9))
def test_ticks_are_round_inside_and_few(low: float, span: float) -> None:
    high = low + span
    if not high - low > abs(low) * 1e-9:
        return
    ticks = linear_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert all(low - span * 1e-6 <= tick <= high + span * 1e-6 for tick in ticks)
    steps = {round((b - a) / span, 6) for a, b in pairwise(ticks)}
    assert max(steps) - min(steps) <= 1e-5


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.71, 0.93, [0.75, 0.8, 0.85, 0.9]),
        (3, 3, [3]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks_of_common_ranges(low: float, high: float, ticks: list[float]) -> None:
    assert linear_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(1e-3, 1e6), st.floats(1.2, 1e6))
def test_a_logarithmic_scale_has_ticks_inside(low: float, ratio: float) -> None:
    scale = Scale(low, low * ratio, 0, 100, log=True)
    assert scale(low) == pytest.approx(0)
    assert scale(low * ratio) == pytest.approx(100)
    ticks = scale.ticks()
    assert ticks
    assert len(ticks) <= 13
    assert all(-1e-6 <= scale(tick) <= 100 + 1e-6 for tick in ticks)


def drawn(*layers: Layer, x: Axis | None = None, y: Axis | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(chart("A title", x or Axis("x"), y or Axis("y"), layers))


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30), st.text())
def test_any_numbers_and_texts_make_a_well_formed_picture(points: list[tuple[float, float]], name: str) -> None:
    name = "".join(letter for letter in name if letter.isprintable())
    text = chart(
        name, Axis(name), Axis(name), [Line(sorted(points), "own", name, steps=True), Dots(points, "own", [name])]
    )
    root = ElementTree.fromstring(text)
    for circle in root.iter(f"{SVG}circle"):
        assert math.isfinite(float(circle.get("cx", "nan")))


def test_steps_hold_until_the_next_point() -> None:
    root = drawn(Line([(0, 0), (1, 1), (3, 2)], "own", steps=True))
    path = next(element.get("d", "") for element in root.iter(f"{SVG}path"))
    places = [tuple(map(float, place.split())) for place in re.split("[ML]", path)[1:]]
    assert len(places) == 5
    for (x1, y1), (x2, y2) in pairwise(places):
        assert x1 == x2 or y1 == y2
    assert places[0][1] == places[1][1]


def test_thousands_of_dots_become_few() -> None:
    points = [(i / 20000, (i * 7919 % 20000) / 20000) for i in range(20000)]
    assert 1000 < len(list(drawn(Dots(points, "own")).iter(f"{SVG}circle"))) < 6000


def test_dots_outside_the_scale_are_left_out() -> None:
    root = drawn(Dots([(0, 0.5), (1, 0.9), (2, 5.0)], "own"), y=Axis("y", 0, 1))
    assert len(list(root.iter(f"{SVG}circle"))) == 2


def test_names_of_lines_that_end_together_are_moved_apart() -> None:
    root = drawn(*(Line([(0, 0), (1, 1 + i / 1000)], "own", f"line {i}") for i in range(4)))
    places = sorted(float(text.get("y", "0")) for text in root.iter(f"{SVG}text") if text.get("class") == "label own")
    assert len(places) == 4
    assert all(b - a >= 16 for a, b in pairwise(places))


def test_a_name_that_is_longer_than_its_axis_is_cut() -> None:
    for name, shown in (("y" * LONGEST, "y" * LONGEST), ("best " + "y" * 90, "best " + "y" * (LONGEST - 6) + "…")):
        root = drawn(Line([(0, 0), (1, 1)], "own"), y=Axis(name))
        texts = [text.text for text in root.iter(f"{SVG}text") if "rotate" in text.get("transform", "")]
        assert texts == [shown]
