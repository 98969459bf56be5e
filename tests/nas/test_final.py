"""The final retraining: the right candidates, chosen on validation, and one look at the test set."""

from __future__ import annotations

import pytest
from stand_ins import VALUE, GridSpace, Uniform, completed

from nas.strategy import Setting
from nas.wrappers.budget import Budget, Limits
from nas.wrappers.final import Final, Finale
from search_spaces.decisions import Candidate
from search_spaces.space import Signature
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

COST = Objective("cost", Direction.MINIMIZE)
SPACE = GridSpace()


def final_of(finale: Finale, *objectives: Objective, trials: int = 4) -> Final:
    setting = Setting(SPACE.decisions, objectives or (VALUE,), SPACE, Signature("grid"), epochs=2)
    return Final(Budget(Uniform(setting), Limits(trials=trials), lambda: 0.0), finale)


def searched(strategy: Final, values: list[dict[str, float] | None], **changes: int) -> None:
    """Let the search try (0, 0), (1, 1), ... with these metrics; None fails."""
    for number, metrics in enumerate(values):
        candidate = Candidate({"a": number, "b": number})
        strategy.hear(Trial(number, candidate, **{"epochs": 2, "horizon": 2, **changes}))  # type: ignore[arg-type]
        if metrics is None:
            strategy.tell(Result(number, 1, Outcome.FAILED))
        else:
            strategy.tell(Result(number, 1, Outcome.COMPLETED, metrics))


def rest(strategy: Final, score: dict[tuple[int, int], float]) -> list[Trial]:
    """Everything asked until the end; a retraining's value is that of its candidate and repeat."""
    trials = []
    while (trial := strategy.ask()) is not None:
        trials.append(trial)
        value = score.get((trial.note.get("of", -1), trial.note.get("repeat", 0)), 0.0)
        strategy.tell(completed(trial, value))
    assert strategy.exhausted
    return trials


def test_the_best_are_retrained_with_every_seed_and_the_winner_is_tested_once() -> None:
    strategy = final_of(Finale(top=2, seeds=2, epochs=5))
    searched(strategy, [{"value": 1}, {"value": 9}, None, {"value": 5}])
    trials = rest(strategy, {(1, 1): 6.0, (1, 2): 2.0, (3, 1): 5.0, (3, 2): 5.5})
    assert [(t.note["arm"], t.note["of"], t.epochs, t.seed) for t in trials] == [
        ("final", 1, 5, 2),
        ("final", 1, 5, 3),
        ("final", 3, 5, 2),
        ("final", 3, 5, 3),
        ("test", 3, 0, 3),
    ]
    test = trials[-1]
    assert (test.split, test.parent, test.id) == ("test", 7, 8), "5.25 on average beats one lucky 6.0"
    assert test.candidate == trials[2].candidate
    assert all(t.split == "validation" for t in trials[:-1])


def test_retraining_waits_for_the_whole_search() -> None:
    strategy = final_of(Finale(top=1), trials=2)
    first, second = strategy.ask(), strategy.ask()
    assert first is not None
    assert second is not None
    strategy.tell(completed(first, 1.0))
    assert strategy.ask() is None
    assert not strategy.exhausted
    strategy.tell(completed(second, 2.0))
    final = strategy.ask()
    assert final is not None
    assert final.note["of"] == 1
    assert strategy.ask() is None, "the test waits for the retraining"
    assert not strategy.exhausted


def test_the_test_waits_for_every_retraining() -> None:
    strategy = final_of(Finale(top=2))
    searched(strategy, [{"value": 1}, {"value": 9}, None, {"value": 5}])
    first, second = strategy.ask(), strategy.ask()
    assert first is not None
    assert second is not None
    strategy.tell(completed(first, 1.0))
    assert strategy.ask() is None, "the other one may yet win"
    assert not strategy.exhausted
    strategy.tell(completed(second, 2.0))
    test = strategy.ask()
    assert test is not None
    assert (test.split, test.parent) == ("test", second.id)


def test_a_retraining_that_fails_does_not_win() -> None:
    strategy = final_of(Finale(top=2, seeds=1, epochs=5), trials=2)
    searched(strategy, [{"value": 9}, {"value": 5}])
    best, second = strategy.ask(), strategy.ask()
    assert best is not None
    assert second is not None
    strategy.tell(Result(best.id, 1, Outcome.FAILED))
    strategy.tell(completed(second, 1.0))
    test = strategy.ask()
    assert test is not None
    assert test.parent == second.id


def test_what_did_not_succeed_at_the_end_is_said() -> None:
    strategy = final_of(Finale(top=1), trials=1)
    searched(strategy, [{"value": 9}])
    assert strategy.failure == ""
    final = strategy.ask()
    assert final is not None
    strategy.tell(Result(final.id, 1, Outcome.FAILED, error="no luck"))
    assert strategy.failure == "none of 1 retrainings completed; the last error: no luck"
    assert strategy.exhausted

    strategy = final_of(Finale(top=0), trials=1)
    searched(strategy, [{"value": 9}])
    test = strategy.ask()
    assert test is not None
    strategy.tell(Result(test.id, 1, Outcome.FAILED, error="no luck"))
    assert strategy.failure == "the winner could not be tested; the last error: no luck"
    assert strategy.exhausted, "what failed is not tried for ever"


def test_where_nothing_completed_there_is_nothing_to_test() -> None:
    strategy = final_of(Finale(top=2), trials=2)
    searched(strategy, [None, None])
    assert strategy.ask() is None
    assert strategy.exhausted


def test_the_first_of_the_pareto_front_are_retrained() -> None:
    strategy = final_of(Finale(top=2), VALUE, COST, trials=5)
    searched(
        strategy,
        [
            {"value": 5, "cost": 5},
            {"value": 4, "cost": 6},
            {"value": 3, "cost": 1},
            {"value": 9, "cost": 9},
            {"value": 8},
        ],
    )
    assert [t.note["of"] for t in rest(strategy, {}) if t.note["arm"] == "final"] == [3, 0]


def test_isomorphic_candidates_take_one_place() -> None:
    strategy = final_of(Finale(top=2), trials=3)
    for number, (a, b) in enumerate([(1, 2), (2, 1), (0, 0)]):
        trial = Trial(number, Candidate({"a": a, "b": b}), 2, 2)
        strategy.hear(trial)
        strategy.tell(completed(trial, 9.0 - number))
    assert [t.note["of"] for t in rest(strategy, {}) if t.note["arm"] == "final"] == [0, 2]


def test_half_trained_trials_do_not_win() -> None:
    strategy = final_of(Finale(top=1), trials=3)
    for number, epochs in enumerate([1, 1, 2]):
        trial = Trial(number, Candidate({"a": number, "b": 0}), epochs, 2)
        strategy.hear(trial)
        strategy.tell(completed(trial, 9.0 - number))
    assert rest(strategy, {})[0].note["of"] == 2


def test_without_retraining_the_best_of_the_search_is_tested() -> None:
    strategy = final_of(Finale(top=0), trials=2)
    searched(strategy, [{"value": 1}, {"value": 2}])
    trials = rest(strategy, {})
    assert [(t.note["arm"], t.parent, t.split, t.epochs) for t in trials] == [("test", 1, "test", 0)]


def test_a_task_without_a_test_set_ends_after_the_retraining() -> None:
    strategy = final_of(Finale(top=1, tested=False), trials=1)
    searched(strategy, [{"value": 1}])
    assert [t.note["arm"] for t in rest(strategy, {})] == ["final"]


@pytest.mark.parametrize(("values", "readings"), [([{"value": 9.0}], [2]), ([{"value": 0.0}], [])])
def test_an_extended_search_reads_the_test_set_again_only_for_another_winner(
    values: list[dict[str, float]], readings: list[int]
) -> None:
    strategy = final_of(Finale(top=1), trials=1)
    searched(strategy, [{"value": 5.0}])
    rest(strategy, {(0, 1): 5.0})
    strategy.extend({"budget": {"trials": 2}})
    trial = Trial(3, Candidate({"a": 3, "b": 3}), 2, 2)
    strategy.hear(trial)
    strategy.tell(completed(trial, values[0]["value"]))
    later = rest(strategy, {(3, 1): 9.0})
    assert [t.note["reading"] for t in later if t.note["arm"] == "test"] == readings


def test_more_seeds_add_only_what_is_missing() -> None:
    strategy = final_of(Finale(top=1, seeds=1), trials=1)
    searched(strategy, [{"value": 5.0}])
    rest(strategy, {(0, 1): 5.0})
    strategy.extend({"final": {"seeds": 3}})
    assert [t.seed for t in rest(strategy, {(0, 2): 1.0}) if t.note["arm"] == "final"] == [3, 4]


def test_the_last_test_is_of_the_winner_also_where_an_earlier_one_wins_again() -> None:
    strategy = final_of(Finale(top=2, seeds=1), trials=2)
    searched(strategy, [{"value": 5.0}, {"value": 4.0}])
    score = {(0, 1): 5.0, (1, 1): 4.0, (0, 2): 1.0, (1, 2): 4.0, (0, 3): 5.0, (1, 3): 0.0}
    tests = [rest(strategy, score)[-1]]
    for seeds in (2, 3):
        strategy.extend({"final": {"seeds": seeds}})
        tests.append(rest(strategy, score)[-1])
    assert [(test.split, test.note["of"], test.note.get("reading")) for test in tests] == [
        ("test", 0, None),
        ("test", 1, 2),
        ("test", 0, 3),
    ]
    assert tests[0].parent == tests[2].parent


@pytest.mark.parametrize("top", [0, 1])
def test_of_rungs_alone_the_highest_counts(top: int) -> None:
    """A value after one epoch cannot be compared with one after three, and says less."""
    strategy = final_of(Finale(top=top, epochs=9), trials=2)
    for number, (epochs, value) in enumerate([(1, 9.0), (3, 4.0)]):
        strategy.hear(Trial(number, Candidate({"a": number, "b": 0}), epochs, 9))
        strategy.tell(Result(number, 1, Outcome.COMPLETED, {"value": value}))
    assert [trial.note["of"] for trial in rest(strategy, {(1, 1): 5.0})] == [1] * (1 + top)
