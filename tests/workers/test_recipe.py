from __future__ import annotations

from typing import Any

import pytest

from search_spaces.decision import Choice, DecisionError, Range, When
from search_spaces.decisions import Candidate, Decisions
from workers.image_recipe import ImageRecipe as Recipe
from workers.tasks.image_classification import ImageClassification


def test_a_setting_is_left_open_by_a_mapping() -> None:
    recipe = Recipe(
        optimizer={"choice": ["adam", "sgd"]},  # type: ignore[arg-type]
        learning_rate={"range": ["1e-4", 0.1], "log": True, "when": {"optimizer": "adam"}},  # type: ignore[arg-type]
        dropout=0.1,
    )
    adam = When.equals("optimizer", "adam")
    assert dict(recipe.decisions) == {
        "optimizer": Choice(("adam", "sgd")),
        "learning_rate": Range(1e-4, 0.1, True, when=adam),
    }
    closed = recipe.closed(Candidate({"optimizer": "adam", "learning_rate": 0.01, "of_the_space": 3}))
    assert (closed.optimizer, closed.learning_rate, closed.dropout) == ("adam", 0.01, 0.1)
    assert not closed.decisions
    inactive = recipe.closed(Candidate({"optimizer": "sgd"}))
    assert inactive.learning_rate == Recipe().learning_rate


@pytest.mark.parametrize("name", Recipe.rules)
def test_every_setting_may_be_a_decision(name: str) -> None:
    rule = Recipe.rules[name]
    record: dict[str, Any] = (
        {"choice": list(rule.points)} if isinstance(rule, Choice) else {"range": [rule.low, rule.high]}
    )
    settings: dict[str, Any] = {name: record}
    recipe = Recipe(**settings)
    assert list(recipe.decisions) == [name]
    value = rule.points[0]
    assert getattr(recipe.closed(Candidate({name: value})), name) == value


def test_a_whole_number_stays_one() -> None:
    recipe = Recipe(batch_size={"range": [16, 256], "log": True})  # type: ignore[arg-type]
    assert recipe.decisions["batch_size"] == Range(16, 256, log=True, integer=True)


def test_other_options_cannot_be_left_open() -> None:
    with pytest.raises(DecisionError, match="epochs cannot be left to the search: only optimizer, learning_rate"):
        ImageClassification(epochs={"range": [1, 9]})  # type: ignore[arg-type]


def test_a_condition_may_look_at_the_space() -> None:
    recipe = Recipe(dropout={"range": [0.0, 0.5], "when": {"blocks": {">=": 2}}})  # type: ignore[arg-type]
    table = Decisions({"blocks": Choice((1, 2))}) | recipe.decisions
    assert table.active({"blocks": 1}) == ["blocks"]
    assert table.active({"blocks": 2}) == ["blocks", "dropout"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamx"}, "optimizer is 'adamx', but must be one of 'sgd'"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"learning_rate": "fast"}, "no number"),
        ({"learning_rate": {"range": [0.0, 1.0]}}, "learning_rate is 0.0"),
        ({"learning_rate": {"rang": [0.0, 1.0]}}, "learning_rate: "),
        ({"optimizer": {"choice": ["sgd", "spam"]}}, "optimizer is 'spam'"),
        ({"optimizer": {"range": [0, 1]}}, "write it as choice"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"bf16": "maybe"}, "bf16 is 'maybe'"),
    ],
)
def test_mistakes_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        Recipe(**settings)


def test_text_that_is_a_number_is_one() -> None:
    assert Recipe(learning_rate="1e-3").learning_rate == 0.001  # type: ignore[arg-type]
