"""What strategies tell of themselves in numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from controlling import everything, make
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from stand_ins import VALUE, Uniform, completed

from nas.strategies.pnas import Pnas
from nas.strategies.surrogate import SurrogateSearch
from nas.strategy import Draw, Setting
from nas.surrogates.foresight import Foresight
from nas.wrapper import Wrapper
from nas.wrappers.budget import Budget, Limits
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice, Range
from search_spaces.decisions import Decisions
from workers.objectives import Outcome
from workers.trial import Result

SETTING = Setting(Decisions({"a": Choice((1, 2)), "b": Choice((1, 2))}), (VALUE,), epochs=2)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=130))
def test_the_rank_correlation_is_that_of_the_last_predictions(pairs: list[tuple[int, int]]) -> None:
    foresight = Foresight()
    for trial, (predicted, _) in enumerate(pairs):
        foresight.predicted(trial, predicted)
    for trial, (_, value) in enumerate(pairs):
        foresight.told(trial, value)
    last = pairs[-100:]
    if len({a for a, _ in last}) < 2 or len({b for _, b in last}) < 2:
        assert math.isnan(foresight.correlation())
    else:
        assert foresight.correlation() == pytest.approx(spearmanr(*zip(*last, strict=True)).statistic)


def test_predictions_without_a_result_are_left_out() -> None:
    foresight = Foresight()
    for trial, value in enumerate([1.0, None, math.nan, 2.0]):
        foresight.predicted(trial, trial)
        foresight.told(trial, value)
    foresight.told(99, 5.0)  # nobody predicted it
    assert foresight.correlation() == 1.0


def test_a_controller_that_has_learned_nothing_has_almost_the_largest_entropy() -> None:
    strategy = make(batch=50)
    first = strategy.gauges()
    assert math.isnan(first["policy_entropy_nats"])
    assert math.isnan(first["policy_baseline"])
    for _ in range(100):
        assert strategy.ask() is not None
    found = strategy.gauges()
    exact = math.log(3) + 2 / 3 * (math.log(3) + 2 / 3 * math.log(3)) + 1 / 3 * math.log(3) + math.log(2)
    assert found["policy_entropy_nats"] == pytest.approx(exact, abs=0.25)
    assert found["policy_entropy_limit_nats"] == pytest.approx(4 * math.log(3) + math.log(2))


def test_a_controller_that_is_paid_for_one_candidate_loses_entropy_and_has_a_baseline() -> None:
    strategy = make(batch=5, epochs=4, learning_rate=0.1, entropy=0.0)
    wanted = everything()[0]
    for _ in range(400):
        trial = strategy.ask()
        assert trial is not None
        alike = sum(trial.candidate.get(name) == value for name, value in wanted.items())
        strategy.tell(Result(trial.id, 1, Outcome.COMPLETED, {"score": float(alike)}))
    found = strategy.gauges()
    assert found["policy_entropy_nats"] < 0.5 * found["policy_entropy_limit_nats"]
    assert 0.0 < found["policy_baseline"] < 1.0  # ranks


def test_pnas_compares_what_it_predicted_with_what_came() -> None:
    strategy = Pnas(SETTING, beam=2)
    assert math.isnan(strategy.gauges()["surrogate_rank_correlation"])
    for predicted, value in ((1.0, 3.0), (2.0, 1.0)):
        draw = Draw(0, strategy.next_id)
        note = {"level": 2, "predicted": predicted}
        trial = strategy.trial(draw, SETTING.decisions.sample(draw.generator()), note)
        strategy.hear(trial)
        strategy.tell(completed(trial, value))
    assert strategy.gauges()["surrogate_rank_correlation"] == -1.0


@pytest.mark.parametrize("at_once", [1, 4])
def test_the_surrogate_compares_what_it_expected_with_what_came(at_once: int) -> None:
    table = Decisions({"x": Range(0.0, 1.0), "y": Range(0.0, 1.0), "z": Choice((0.0, 1.0))})
    strategy = SurrogateSearch(Setting(table, (VALUE,), epochs=2), pool=50)
    assert math.isnan(strategy.gauges()["surrogate_rank_correlation"])
    for _ in range(16 // at_once):
        strategy.expect(at_once)
        asked = [strategy.ask() for _ in range(at_once)]
        for trial in asked:
            assert trial is not None
            value = sum(float(one) for one in trial.candidate.values())
            strategy.tell(completed(trial, value if trial.id % 2 else -value))
    assert len(strategy._foresight._pairs) == 16 - strategy.initial
    assert abs(strategy.gauges()["surrogate_rank_correlation"]) <= 1.0
    failed = strategy.ask()
    assert failed is not None
    strategy.tell(Result(failed.id, 1, Outcome.FAILED))
    assert len(strategy._foresight._pairs) == 16 - strategy.initial


def test_the_budget_says_how_much_of_the_nearest_limit_is_spent() -> None:
    now = [0.0]
    clock: Callable[[], float] = lambda: now[0]  # noqa: E731
    strategy = Budget(Uniform(SETTING), Limits(trials=10, epochs=100, seconds=50.0), clock)
    assert strategy.gauges() == {"budget_spent_ratio": 0.0}
    strategy.ask()
    assert strategy.gauges() == {"budget_spent_ratio": 0.1}
    now[0] = 40.0
    assert strategy.gauges() == {"budget_spent_ratio": 0.8}


def test_rules_pass_on_what_a_strategy_tells_and_duplicates_are_counted() -> None:
    strategy = Deduplicate(make())
    for _ in range(20):
        assert strategy.ask() is not None
    found = Outer(strategy).gauges()
    assert found["duplicates_refused_total"] == strategy.refused > 0
    assert "policy_entropy_nats" in found


class Outer(Wrapper):
    """A rule without a rule."""
