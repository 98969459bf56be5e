"""Every view of a table of decisions, on tables drawn at random."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.decision import Choice, Clause, Decision, DecisionError, Range, Value, When
from search_spaces.decision_json import decision_from_json, decision_to_json
from search_spaces.decisions import Candidate, Decisions

OPTIONS: tuple[Value, ...] = (1, 2, 3, "adam", "sgd", False, 0.5)


@st.composite
def conditions(draw: st.DrawFn, earlier: dict[str, Decision]) -> When | None:
    if not earlier or draw(st.booleans()):
        return None
    name = draw(st.sampled_from(sorted(earlier)))
    decision = earlier[name]
    value = draw(st.sampled_from(decision.points))
    if draw(st.booleans()):
        return When.equals(name, value)
    if all(isinstance(point, int | float) for point in decision.points):
        return When((Clause(name, ">=", value),))
    return When.among(name, *draw(st.lists(st.sampled_from(decision.points), max_size=2)))


@st.composite
def tables(draw: st.DrawFn, reals: bool = True, largest: int = 6) -> dict[str, Decision]:
    table: dict[str, Decision] = {}
    for index in range(draw(st.integers(1, largest))):
        when = draw(conditions(table))
        kind = draw(st.sampled_from(["choice", "integer", "real"] if reals else ["choice", "integer"]))
        if kind == "choice":
            options = draw(
                st.lists(st.sampled_from(OPTIONS), min_size=1, max_size=4, unique_by=lambda o: (o == 1) or o)
            )
            table[f"d{index}"] = Choice(tuple(options), when)
            continue
        low = draw(st.integers(1, 5))
        high = low + draw(st.integers(1, 4))
        table[f"d{index}"] = Range(low, high, draw(st.booleans()), kind == "integer", draw(st.integers(2, 5)), when)
    return table


def close(first: Candidate, second: Candidate) -> bool:
    return list(first) == list(second) and all(
        math.isclose(first[n], second[n]) if isinstance(first[n], float) else first[n] == second[n]  # type: ignore[arg-type]
        for n in first
    )


@given(tables(), st.integers(0, 1000))
def test_samples_are_valid_and_survive_json(table: dict[str, Decision], seed: int) -> None:
    decisions = Decisions(table)
    sampled = decisions.sample(Random(seed))
    assert list(sampled) == decisions.active(sampled)
    again = decisions.candidate(json.loads(json.dumps(sampled.json())))
    assert again == sampled
    assert hash(again) == hash(sampled)
    assert [type(v) for v in again.values()] == [type(v) for v in sampled.values()]
    assert decisions.sample(Random(seed)) == sampled


@given(tables(), st.integers(0, 1000))
def test_vectors_describe_their_candidate(table: dict[str, Decision], seed: int) -> None:
    decisions = Decisions(table)
    sampled = decisions.sample(Random(seed))
    vector = decisions.encode(sampled)
    assert len(vector) == sum(decision.width for decision in table.values())
    assert all(0 <= column <= 1 for column in vector)
    assert close(decisions.decode(vector), sampled)


@given(tables(), st.integers(0, 1000))
def test_tokens_describe_candidates_on_the_grid(table: dict[str, Decision], seed: int) -> None:
    decisions, generator = Decisions(table), Random(seed)
    tokens = tuple(generator.randrange(len(decision.points)) for decision in table.values())
    candidate = decisions.from_tokens(tokens)
    found = decisions.tokens(candidate)
    assert decisions.from_tokens(found) == candidate
    for name, token, wanted in zip(table, found, tokens, strict=True):
        assert token == (wanted if name in candidate else -1)


@given(tables(), st.integers(0, 1000))
def test_mutations_change_one_decision_and_stay_valid(table: dict[str, Decision], seed: int) -> None:
    decisions, generator = Decisions(table), Random(seed)
    parent = decisions.sample(generator)
    child = decisions.mutate(parent, generator)
    assert decisions.candidate(child) == child
    if any(len(table[name].points) > 1 for name in parent):
        assert child != parent
    changed = [name for name in parent if name in child and parent[name] != child[name]]
    assert len(changed) <= 1


@given(tables(), st.integers(0, 1000))
def test_neighbours_change_one_decision_each_and_stay_valid(table: dict[str, Decision], seed: int) -> None:
    decisions, generator = Decisions(table), Random(seed)
    candidate = decisions.sample(generator)
    neighbours = list(decisions.neighbours(candidate, generator))
    assert len(set(neighbours)) == len(neighbours)
    changes = set()
    for neighbour in neighbours:
        assert decisions.candidate(neighbour) == neighbour
        changed = [name for name in candidate if name in neighbour and candidate[name] != neighbour[name]]
        assert len(changed) == 1
        changes.add(changed[0])
    assert changes == {name for name in candidate if len(table[name].points) > 1}
    assert all(len(table[name].points) == 1 for name in candidate) == (neighbours == [])


@given(tables(reals=False), st.integers(0, 1000))
def test_a_neighbours_neighbour_may_be_the_candidate(table: dict[str, Decision], seed: int) -> None:
    alone = {name: replace(decision, when=None) for name, decision in table.items()}
    for name, decision in alone.items():
        if isinstance(decision, Choice):
            value = Decisions(alone).sample(Random(seed))[name]
            assert all(value in decision.neighbours(near) for near in decision.neighbours(value))


def test_a_step_leads_to_what_is_beside() -> None:
    assert Choice(("a", "b", "c")).neighbours("b") == ("a", "c")
    batches = Choice((16, 32, 64, 128), ordered=True)
    assert [batches.neighbours(one) for one in batches.options] == [(32,), (16, 64), (32, 128), (64,)]
    assert Range(0.0, 1.0, count=3).neighbours(0.5) == (0.0, 0.375, 0.625, 1.0)
    assert Range(0.0, 1.0, count=3).neighbours(0.0) == (0.125, 0.5)
    assert Range(0.0, 1.0, count=3).neighbours(0.9) == (0.4, 0.775, 1.0)
    assert Range(1, 100, integer=True, count=12).neighbours(50) == (41, 48, 49, 51, 52, 59)
    assert Range(1e-4, 1.0, log=True, count=5).neighbours(1e-2) == pytest.approx((1e-3, 10**-2.25, 10**-1.75, 0.1))


@given(tables(reals=False, largest=5))
def test_the_size_is_the_number_of_candidates(table: dict[str, Decision]) -> None:
    values: list[list[Value]] = [
        list(d.options) if isinstance(d, Choice) else list(range(int(d.low), int(d.high) + 1)) for d in table.values()
    ]
    found = set()
    for combination in product(*values):
        chosen: dict[str, Value] = {}
        for (name, decision), value in zip(table.items(), combination, strict=True):
            if decision.when is None or decision.when.holds(chosen):
                chosen[name] = value
        found.add(tuple((name, type(value), value) for name, value in chosen.items()))
    assert Decisions(table).size() == len(found)


def test_real_numbers_make_a_table_infinite() -> None:
    assert Decisions({"rate": Range(0.1, 1.0)}).size() == math.inf


@given(tables(), st.randoms(use_true_random=False))
def test_a_merged_table_keeps_conditions_behind_what_they_look_at(table: dict[str, Decision], random: Random) -> None:
    first = {name: decision for name, decision in table.items() if random.random() < 0.5}
    second = {name: decision for name, decision in table.items() if name not in first}
    merged = Decisions(second, partial=True) | Decisions(first, partial=True)
    assert dict(merged) == table
    places = {name: place for place, name in enumerate(merged)}
    for name, decision in merged.items():
        assert all(places[c.name] < places[name] for c in (decision.when.clauses if decision.when else ()))


@given(tables())
def test_decisions_survive_json(table: dict[str, Decision]) -> None:
    for decision in table.values():
        assert decision_from_json(json.loads(json.dumps(decision_to_json(decision)))) == decision


def test_two_tables_may_switch_each_other() -> None:
    decoder = Choice(("small", "large"), When.equals("loss", "energy"))
    margin = Range(0.0, 1.0, when=When.at_least("filters", 16))
    space = Decisions({"decoder": decoder, "filters": Choice((8, 16))}, partial=True)
    merged = space | Decisions({"margin": margin, "loss": Choice(("energy", "hinge"))}, partial=True)
    assert list(merged).index("decoder") > list(merged).index("loss")
    assert list(merged).index("margin") > list(merged).index("filters")
    assert "decoder" not in merged.candidate({"filters": 8, "loss": "hinge"})
    with pytest.raises(DecisionError, match="stands in both tables"):
        space | Decisions({"filters": Choice((1,))})


def test_what_hangs_on_another_table_does_so_through_others_too() -> None:
    decoder = Choice(("small", "large"), When.equals("loss", "energy"))
    code = Choice((8, 16), When.equals("decoder", "large") & When.equals("kind", "deep"))
    table = {"kind": Choice(("deep", "flat")), "decoder": decoder, "code": code}
    space = Decisions({**table, "depth": Choice((1, 2), When.equals("kind", "deep"))}, partial=True)
    assert space.hanging == {"decoder", "code"}
    assert not (space | Decisions({"loss": Choice(("energy", "hinge"))})).hanging


def test_a_candidate_is_not_changed_through_its_json() -> None:
    candidate = Candidate({"a": 1})
    candidate.json()["a"] = 2
    assert candidate["a"] == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "blocks is missing: it must be one of 1, 2"),
        ({"blocks": 3}, "blocks is 3, but must be one of 1, 2"),
        ({"blocks": True}, "blocks is True, but must be one of 1, 2"),
        ({"blocks": 1, "rate": 5.0}, "rate is 5.0, but must be a number from 0.1 to 1.0"),
        ({"blocks": 1, "rate": float("nan")}, "rate is nan, but must be"),
        ({"blocks": 1, "rate": 0.5, "blcoks": 2}, "'blcoks' is no decision of this search: did you mean blocks?"),
        ({"blocks": 1, "rate": 0.5, "second": 1}, "second is given, but is not active"),
    ],
)
def test_a_candidate_from_outside_is_checked(values: dict[str, object], message: str) -> None:
    decisions = Decisions(
        {"blocks": Choice((1, 2)), "rate": Range(0.1, 1.0), "second": Choice((1,), When.at_least("blocks", 2))}
    )
    with pytest.raises(DecisionError) as raised:
        decisions.candidate(values)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": Choice((1,), When.equals("b", 1))}, "no earlier decision has that name: there are none"),
        ({"abc": Choice((1,)), "d": Choice((1,), When.equals("abd", 1))}, "did you mean abc?"),
        ({"a": Choice(("x",)), "d": Choice((1,), When.at_least("a", 1))}, "compare numbers, or use =="),
    ],
)
def test_a_condition_must_make_sense(table: dict[str, Decision], message: str) -> None:
    with pytest.raises(DecisionError, match=message.replace("?", r"\?")):
        Decisions(table)


@pytest.mark.parametrize(
    ("low", "high", "further", "message"),
    [
        (1, 1, {}, "is empty"),
        (0, 1, {"log": True}, "must start above 0"),
        (0, math.inf, {}, "is not finite"),
        (math.nan, 1, {}, "is not finite"),
        (0.5, 2, {"integer": True}, "needs whole numbers"),
        (0, 1, {"count": 1}, "at least 2"),
    ],
)
def test_a_range_must_make_sense(low: float, high: float, further: dict[str, Any], message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        Range(low, high, **further)


def test_a_choice_has_options_and_none_twice() -> None:
    with pytest.raises(DecisionError, match="at least one"):
        Choice(())
    with pytest.raises(DecisionError, match="repeat"):
        Choice((1, 2, 1))
