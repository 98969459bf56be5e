from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.decision import Choice, Clause, Decision, DecisionError, Range, When
from search_spaces.decision_json import decision_from_json, decision_to_json
from search_spaces.decisions import Decisions

VALUES = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.floats(-5, 5), st.booleans())
NAMES = st.sampled_from(["a", "b", "in", ">="])
CLAUSES = st.one_of(
    st.builds(Clause, NAMES, st.just("=="), VALUES),
    st.builds(Clause, NAMES, st.just(">="), st.integers(-9, 9)),
    st.builds(Clause, NAMES, st.just("in"), st.lists(VALUES, max_size=3).map(tuple)),
)
WHENS = st.none() | st.lists(CLAUSES, min_size=1, max_size=3).map(lambda found: When(tuple(found)))
CHOICES = st.builds(Choice, st.lists(VALUES, min_size=1, max_size=4, unique=True).map(tuple), WHENS) | st.builds(
    Choice,
    st.lists(st.integers(-9, 9), min_size=1, max_size=4, unique=True).map(sorted).map(tuple),
    WHENS,
    st.booleans(),
)
RANGES = st.builds(
    lambda low, width, log, count, when: Range(low, low + width, log, False, count, when),
    st.floats(0.001, 10),
    st.floats(0.5, 10),
    st.booleans(),
    st.integers(2, 20),
    WHENS,
)
INTEGERS = st.builds(lambda low, width: Range(low, low + width, integer=True), st.integers(-5, 5), st.integers(1, 9))


@given(st.one_of(CHOICES, RANGES, INTEGERS))
def test_what_is_written_is_read_back(decision: Decision) -> None:
    assert decision_from_json(json.loads(json.dumps(decision_to_json(decision)))) == decision


def test_the_forms_of_a_job_file() -> None:
    log = decision_from_json({"range": [1e-4, 0.5], "log": True, "points": 5})
    assert log == Range(1e-4, 0.5, log=True, count=5)
    when = {"optimizer": "adam", "blocks": {">=": 2}, "x": {"in": ["p", "q"]}}
    one = decision_from_json({"choice": ["sgd", 3, True], "when": when})
    expected = When.equals("optimizer", "adam") & When.at_least("blocks", 2) & When.among("x", "p", "q")
    assert one == Choice(("sgd", 3, True), expected)


def test_a_number_that_yaml_reads_as_text_is_a_number() -> None:
    assert decision_from_json({"range": ["1e-4", "5e-1"]}) == Range(1e-4, 0.5)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "needs either choice"),
        ({"choice": [1], "range": [0, 1]}, "needs either choice"),
        ({"choice": "sgd"}, "must be a list"),
        ({"choice": []}, "at least one"),
        ({"choice": [[1]]}, "cannot be a value"),
        ({"choice": [1], "log": True}, "'log' beside choice means nothing"),
        ({"range": [0, 1], "step": 2}, "'step' beside range"),
        ({"range": 3}, r"must be \[low, high\]"),
        ({"range": [0, "x"]}, "no number"),
        ({"range": [1, 0]}, "empty"),
        ({"range": [0, 1], "log": True}, "above 0"),
        ({"range": [0, 1], "when": {"a": {"<": 2}}}, "when a"),
        ({"range": [0, 1], "when": {"a": {"in": "xy"}}}, "must be a list"),
    ],
)
def test_mistakes_are_named(record: dict[str, object], message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        decision_from_json(record)


def test_a_partial_table_may_look_beyond_itself_and_is_checked_once_united() -> None:
    late = Choice((1, 2), When.equals("optimizer", "adam"))
    rate = Range(0.1, 0.2, when=When.at_least("blocks", 2))
    task = Decisions({"late": late, "rate": rate, "optimizer": Choice(("sgd", "adam"))}, partial=True)
    assert list(task) == ["rate", "optimizer", "late"]
    united = Decisions({"blocks": Range(1, 3, integer=True)}) | task
    assert set(united.active({"blocks": 1, "optimizer": "sgd"})) == {"blocks", "optimizer"}
    with pytest.raises(DecisionError, match="rate is active only when blocks >= 2"):
        Decisions() | task


def test_growing_numbers_are_ordered_unless_the_job_says_no() -> None:
    assert decision_from_json({"choice": [16, 32, 64]}) == Choice((16, 32, 64), ordered=True)
    assert decision_from_json({"choice": [16, 32, 64], "ordered": False}) == Choice((16, 32, 64))
    for options in ([64, 32, 16], ["a", "b"], [False, True], [1, "b"], [3]):
        assert decision_from_json({"choice": options}) == Choice(tuple(options))  # type: ignore[arg-type]
    with pytest.raises(DecisionError, match="sort the numbers"):
        decision_from_json({"choice": [32, 16], "ordered": True})
