"""Wrappers: each keeps the contract of a strategy, alone and around each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import VALUE, GridSpace, Uniform, completed

from nas.strategy import Draw, Setting, Strategy
from nas.wrapper import Wrapper
from nas.wrappers.baseline import Baseline
from nas.wrappers.budget import Budget, Limits
from nas.wrappers.constrain import Constrain
from nas.wrappers.deduplicate import Deduplicate
from nas.wrappers.enqueue import Enqueue
from nas.wrappers.final import Final, Finale
from nas.wrappers.rescore import Rescore
from nas.wrappers.retry import Retry
from nas.wrappers.share import Share
from nas.wrappers.target import Target
from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate
from search_spaces.space import Signature
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Json, Result, Trial

SPACE = GridSpace()
SETTING = Setting(SPACE.decisions, (VALUE,), SPACE, Signature("grid"), epochs=2, seed=7)
RIVAL = Setting(SPACE.decisions, (VALUE,), SPACE, Signature("grid"), epochs=2, seed=8)


def describe(candidate: Candidate) -> dict[str, float]:
    return {"parameters": SPACE.describe(candidate, Signature("grid")).parameters}


def everything() -> Final:
    inner = Enqueue(Deduplicate(Constrain(Uniform(SETTING), {"parameters": 400}, describe)))
    around = Baseline(inner, Deduplicate(Uniform(RIVAL)), 0.25)
    limited = Budget(Retry(around, 2), Limits(trials=12), lambda: 0.0)
    return Final(Target(limited, 9.5), Finale(top=2, seeds=2, epochs=3))


def sharing() -> Final:
    around = Baseline(Deduplicate(Uniform(SETTING), shared=True), Deduplicate(Uniform(RIVAL), shared=True), 0.25)
    limited = Budget(Retry(Share(around), 1), Limits(trials=9), lambda: 0.0)
    return Final(Rescore(Target(limited, None), 3), Finale(top=1, seeds=1, epochs=3))


WRAPPED: dict[str, Callable[[], Strategy]] = {
    "baseline": lambda: Baseline(Uniform(SETTING), Uniform(RIVAL), 0.3),
    "budget": lambda: Budget(Uniform(SETTING), Limits(trials=9, epochs=100), lambda: 0.0),
    "constrain": lambda: Constrain(Uniform(SETTING), {"parameters": 200}, describe),
    "deduplicate": lambda: Deduplicate(Uniform(SETTING)),
    "deduplicate shared": lambda: Deduplicate(Uniform(SETTING), shared=True),
    "enqueue": lambda: Enqueue(Uniform(SETTING)),
    "final": lambda: Final(Budget(Uniform(SETTING), Limits(trials=5), lambda: 0.0), Finale(2, 2, 3)),
    "rescore": lambda: Rescore(Budget(Uniform(SETTING), Limits(trials=4), lambda: 0.0), 2),
    "retry": lambda: Retry(Uniform(SETTING), 2),
    "share": lambda: Share(Uniform(SETTING)),
    "sharing": sharing,
    "target": lambda: Target(Uniform(SETTING), 9.0),
    "everything": everything,
}


def score(trial: Trial) -> Result:
    if trial.id % 7 == 3:
        return Result(trial.id, 1, Outcome.FAILED, error="as it goes")
    return completed(trial, sum(map(int, trial.candidate.values())) + trial.seed / 100)


def live(strategy: Strategy, generator: Random, most: int = 60, slots: int = 3) -> list[Trial | Result]:
    """Ask and tell in a random order, as a pool with some slots would; the events in the journal's order."""
    events: list[Trial | Result] = []
    running: list[Trial] = []
    while len(events) < most:
        trial = strategy.ask() if len(running) < slots and generator.random() < 0.7 else None
        if trial is not None:
            running.append(trial)
            events.append(trial)
        elif running:
            result = score(running.pop(generator.randrange(len(running))))
            strategy.tell(result)
            events.append(result)
        elif strategy.exhausted:
            break
    return events


def hear(strategy: Strategy, events: list[Trial | Result]) -> None:
    for event in events:
        if isinstance(event, Trial):
            strategy.hear(event)
        else:
            strategy.tell(event)


@pytest.mark.parametrize("name", WRAPPED)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), most=st.integers(0, 50))
def test_a_wrapper_is_restored_by_hearing_its_history(name: str, seed: int, most: int) -> None:
    strategy = WRAPPED[name]()
    events = live(strategy, Random(seed), most)
    restored = WRAPPED[name]()
    hear(restored, events)
    assert restored.next_id == strategy.next_id
    draw = Draw(SETTING.seed, strategy.next_id)
    proposal = strategy.propose(draw)
    assert restored.propose(draw) == proposal
    assert strategy.propose(draw) == proposal, "proposing changed something"
    assert restored.exhausted == strategy.exhausted
    if strategy.exhausted:
        assert proposal is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 1 / 3, 0.5, 0.9])
def test_the_baseline_gets_its_share_wherever_one_counts(share: float) -> None:
    strategy = Baseline(Uniform(SETTING), Uniform(RIVAL), share)
    theirs = [asked(strategy).note.get("arm") == "baseline" for _ in range(1000)]
    for first in (0, 17, 500):
        assert abs(sum(theirs[first : first + 300]) - 300 * share) <= 1


class Brief(Uniform):
    """Of three trials one is full, one a rung, and one trains nothing."""

    def propose(self, draw: Draw) -> Trial:
        trial = super().propose(draw)
        assert trial is not None
        return replace(trial, epochs=(2, 1, 0)[draw.trial % 3])


def test_who_trains_briefly_leaves_random_search_no_more_of_the_epochs() -> None:
    strategy = Baseline(Brief(SETTING), Uniform(RIVAL), 0.25)
    epochs = {"baseline": 0, None: 0}
    for _ in range(600):
        trial = asked(strategy)
        epochs[trial.note.get("arm")] += trial.epochs
        total = sum(epochs.values())
        assert -SETTING.epochs <= epochs["baseline"] - 0.25 * total <= 0


class Listener(Uniform):
    """Remembers what it was told."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.heard: list[int] = []

    def asked(self, trial: Trial) -> None:
        self.heard.append(trial.id)

    def told(self, result: Result) -> None:
        self.heard.append(result.trial_id)


def test_neither_arm_hears_of_the_other() -> None:
    ours, theirs = Listener(SETTING), Listener(RIVAL)
    strategy = Baseline(ours, theirs, 0.25)
    trials = [strategy.ask() for _ in range(8)]
    for trial in trials:
        assert trial is not None
        strategy.tell(completed(trial, 1.0))
    assert [t.note.get("arm") for t in trials if t] == [None, None, None, "baseline"] * 2
    assert ours.heard == [0, 1, 2, 4, 5, 6] * 2
    assert theirs.heard == [3, 7] * 2
    assert {t.seed for t in trials if t and t.note} == {8}


class Closing(Uniform):
    """Says when it is closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_who_ends_a_search_closes_every_arm() -> None:
    inner, rival = Closing(SETTING), Closing(SETTING)
    arms = Baseline(Deduplicate(inner), Deduplicate(rival), 0.5)
    Final(Target(Budget(arms, Limits(trials=5), lambda: 0.0), None), Finale()).close()
    assert inner.closed
    assert rival.closed


def test_nothing_is_trained_twice_and_the_space_runs_out() -> None:
    strategy = Deduplicate(Uniform(SETTING))
    events = live(strategy, Random(1), most=500)
    keys = [SPACE.canonical(event.candidate) for event in events if isinstance(event, Trial)]
    assert len(keys) == len(set(keys)) == 21, "6 x 6 ordered pairs are 21 unordered ones"
    assert strategy.exhausted
    assert "exhausted" in strategy.reason


def test_an_empty_hand_is_no_end_while_something_runs() -> None:
    setting = Setting(GridSpace(1).decisions, (VALUE,), GridSpace(1), Signature("grid"))
    strategy = Deduplicate(Uniform(setting))
    only = strategy.ask()
    assert only is not None
    assert strategy.ask() is None
    assert not strategy.exhausted
    strategy.tell(completed(only, 1.0))
    assert strategy.ask() is None
    assert strategy.exhausted


def test_another_fidelity_seed_split_or_parent_is_another_training() -> None:
    strategy = Deduplicate(Uniform(SETTING))
    trial = strategy.trial(Draw(0, 0), Candidate({"a": 1, "b": 2}))
    strategy.hear(trial)
    twin = {"id": 1, "candidate": Candidate({"a": 2, "b": 1})}
    assert not strategy.accepts(Trial(**{**vars_of(trial), **twin}))
    changes: list[dict[str, Json]] = [{"epochs": 1}, {"horizon": 9}, {"seed": 8}, {"split": "test"}, {"parent": 0}]
    for change in changes:
        assert strategy.accepts(Trial(**{**vars_of(trial), **twin, **change})), change


def vars_of(trial: Trial) -> dict[str, Json]:
    return {name: getattr(trial, name) for name in Trial.__dataclass_fields__}


def test_constraints_hold_before_training_and_impossible_ones_end_the_search() -> None:
    strategy = Constrain(Uniform(SETTING), {"parameters": 100}, describe)
    trials = [strategy.ask() for _ in range(30)]
    assert {int(t.candidate["a"]) for t in trials if t} == {0, 1}
    impossible = Constrain(Uniform(SETTING), {"parameters": -1}, describe)
    assert impossible.ask() is None
    assert impossible.exhausted
    assert "parameters at most -1" in impossible.reason


def test_each_limit_of_a_budget_ends_it() -> None:
    now = [0.0]
    trials = Budget(Uniform(SETTING), Limits(trials=3), lambda: 0.0)
    epochs = Budget(Uniform(SETTING), Limits(epochs=5), lambda: 0.0)
    seconds = Budget(Uniform(SETTING), Limits(seconds=10), lambda: now[0])
    assert sum(trials.ask() is not None for _ in range(9)) == 3
    assert sum(epochs.ask() is not None for _ in range(9)) == 3, "two epochs each: the third reaches 5"
    assert seconds.ask() is not None
    now[0] = 10.0
    assert seconds.ask() is None
    assert [one.exhausted for one in (trials, epochs, seconds)] == [True] * 3
    assert trials.reason == "the budget of 3 trials is spent"


def test_a_rung_spends_only_what_it_adds() -> None:
    budget = Budget(Uniform(SETTING), Limits(epochs=100), lambda: 0.0)
    budget.hear(Trial(0, Candidate({"a": 0, "b": 0}), epochs=3, horizon=9))
    budget.hear(Trial(1, Candidate({"a": 0, "b": 0}), epochs=9, horizon=9, parent=0))
    assert budget.epochs == 9


@pytest.mark.parametrize("body", [{"budget": {"trials": 5}}, {"budget": {"trials": 5, "hours": 1}}])
def test_a_budget_can_be_extended(body: dict[str, Json]) -> None:
    strategy: Wrapper = Final(Budget(Uniform(SETTING), Limits(trials=1), lambda: 0.0), Finale(top=0, tested=False))
    first = strategy.ask()
    assert first is not None
    strategy.tell(completed(first, 1.0))
    assert strategy.exhausted
    strategy.extend(body)
    assert sum(strategy.ask() is not None for _ in range(9)) == 4


def test_a_wrong_extension_changes_nothing() -> None:
    strategy = Budget(Uniform(SETTING), Limits(trials=1), lambda: 0.0)
    with pytest.raises(ValueError, match="trials"):
        strategy.extend({"budget": {"trials": 0}})
    assert strategy.limits == Limits(trials=1)


def test_what_is_enqueued_comes_first_once_and_in_order() -> None:
    strategy = Enqueue(Uniform(SETTING))
    strategy.enqueue({"a": 5, "b": 4})
    strategy.enqueue({"a": 0, "b": 0})
    trials = [strategy.ask() for _ in range(3)]
    assert [t.candidate.json() for t in trials[:2] if t] == [{"a": 5, "b": 4}, {"a": 0, "b": 0}]
    assert [t.note.get("arm") for t in trials if t] == ["enqueued", "enqueued", None]


def test_a_wrong_or_known_candidate_is_not_enqueued() -> None:
    strategy = Enqueue(Uniform(SETTING))
    with pytest.raises(DecisionError, match="b is 9"):
        strategy.enqueue({"a": 1, "b": 9})
    strategy.enqueue({"a": 1, "b": 2})
    with pytest.raises(UserError, match="waits in the queue"):
        strategy.enqueue({"a": 2, "b": 1})
    strategy.ask()
    with pytest.raises(UserError, match="trial 0 tries this candidate already"):
        strategy.enqueue({"a": 1, "b": 2})


def test_a_strategy_hears_of_foreign_trials_only_where_it_can_use_them() -> None:
    deaf = Listener(SETTING)
    strategy = Enqueue(Deduplicate(deaf))
    strategy.enqueue({"a": 1, "b": 2})
    trial = strategy.ask()
    assert trial is not None
    strategy.tell(completed(trial, 3.0))
    assert deaf.heard == []

    open_ears = Listener(SETTING)
    open_ears.foreign = True
    strategy = Enqueue(Deduplicate(open_ears))
    strategy.hear(trial)
    strategy.tell(completed(trial, 3.0))
    assert open_ears.heard == [0, 0]


def test_a_spent_budget_refuses_a_candidate() -> None:
    strategy = Budget(Enqueue(Uniform(SETTING)), Limits(trials=1), lambda: 0.0)
    strategy.ask()
    with pytest.raises(UserError, match="budget of 1 trial is spent"):
        strategy.enqueue({"a": 1, "b": 2})


def failed(trial: Trial) -> Result:
    return Result(trial.id, 1, Outcome.FAILED, error="as it goes")


def asked(strategy: Strategy) -> Trial:
    trial = strategy.ask()
    assert trial is not None
    return trial


def test_what_failed_is_tried_again_with_other_seeds_so_many_times() -> None:
    listener = Listener(SETTING)
    strategy = Retry(listener, 2)
    first = asked(strategy)
    strategy.tell(failed(first))
    second = asked(strategy)
    strategy.tell(failed(second))
    third = asked(strategy)
    assert [trial.id for trial in (first, second, third)] == [0, 1, 2]
    assert first.candidate == second.candidate == third.candidate
    assert len({trial.seed for trial in (first, second, third)} - {SETTING.seed, SETTING.seed + 1}) == 2
    assert [trial.note.get("retry") for trial in (second, third)] == [{"of": 0, "number": 1}, {"of": 0, "number": 2}]
    assert listener.heard == [0], "one trial that takes long"
    strategy.tell(failed(third))
    assert listener.heard == [0, 0]
    assert "retry" not in asked(strategy).note


def test_a_retry_that_succeeds_answers_for_the_trial_that_failed() -> None:
    class Scores(Listener):
        def told(self, result: Result) -> None:
            self.heard.append((result.trial_id, result.outcome, result.metrics.get("value")))  # type: ignore[arg-type]

    listener = Scores(SETTING)
    strategy = Retry(listener, 1)
    strategy.tell(failed(asked(strategy)))
    strategy.tell(completed(asked(strategy), 5.0))
    assert listener.heard == [0, (0, Outcome.COMPLETED, 5.0)]


def test_what_continues_a_trial_continues_the_retry_that_succeeded() -> None:
    class Climber(Listener):
        def propose(self, draw: Draw) -> Trial | None:
            trial = super().propose(draw)
            return trial if trial is None or not self.heard else Trial(draw.trial, trial.candidate, 4, 4, parent=0)

        def asked(self, trial: Trial) -> None:
            self.heard.append((trial.id, trial.parent))  # type: ignore[arg-type]

    climber = Climber(SETTING)
    strategy = Retry(climber, 1)
    strategy.tell(failed(asked(strategy)))
    strategy.tell(completed(asked(strategy), 1.0))
    assert asked(strategy).parent == 1, "where the checkpoint is"
    assert climber.heard == [(0, None), 0, (2, 0)], "as the strategy knows it"


@pytest.mark.parametrize("result", [Result(0, 1, Outcome.INFEASIBLE), Result(0, 1, Outcome.FAILED, error="set aside")])
def test_what_is_infeasible_or_indigestible_is_not_tried_again(result: Result) -> None:
    strategy = Retry(Uniform(SETTING), 3)
    asked(strategy)
    strategy.tell(result)
    assert "retry" not in asked(strategy).note


def test_a_search_is_not_over_while_something_is_to_be_tried_again() -> None:
    class Once(Listener):
        @property
        def exhausted(self) -> bool:
            return bool(self.heard)

        def propose(self, draw: Draw) -> Trial | None:
            return None if self.heard else super().propose(draw)

    strategy = Budget(Retry(Once(SETTING), 1), Limits(trials=9), lambda: 0.0)
    strategy.tell(failed(asked(strategy)))
    assert not strategy.exhausted
    strategy.tell(failed(asked(strategy)))
    assert strategy.exhausted
    assert strategy.trials == 2, "a retry spends the budget"


@pytest.mark.parametrize("better", Direction)
def test_a_target_ends_the_search_which_way_ever_is_better(better: Direction) -> None:
    setting = Setting(SPACE.decisions, (Objective("value", better),), SPACE, Signature("grid"), epochs=2)
    strategy = Target(Uniform(setting), 5.0)
    for value in (4.9, 5.1) if better is Direction.MAXIMIZE else (5.1, 4.9):
        assert strategy.reason == ""
        assert not strategy.exhausted
        strategy.tell(completed(asked(strategy), value))
    assert strategy.exhausted
    assert strategy.ask() is None
    assert strategy.reason.startswith("trial 1 reached the target: value ")


def test_a_target_is_reached_by_full_trials_that_completed() -> None:
    strategy = Target(Uniform(SETTING), 5.0)
    for number, trial in enumerate(
        [Trial(0, Candidate({"a": 1, "b": 1}), epochs=1, horizon=2), Trial(1, Candidate({"a": 1, "b": 1}), 2, 2)]
    ):
        strategy.hear(trial)
        outcome = Outcome.FAILED if trial.full else Outcome.COMPLETED
        strategy.tell(Result(number, 1, outcome, {"value": 9.0}))
    assert not strategy.exhausted


def test_a_target_can_be_raised_and_taken_away() -> None:
    strategy: Wrapper = Final(Target(Budget(Uniform(SETTING), Limits(trials=9), lambda: 0.0), 3.0), Finale(top=0))
    strategy.tell(completed(asked(strategy), 4.0))
    inner = strategy.inner
    assert isinstance(inner, Target)
    assert inner.exhausted
    with pytest.raises(UserError, match="trial 0 reached the target: value 4, asked 3, so nothing more"):
        inner.enqueue({"a": 1, "b": 2})
    strategy.extend({"budget": {"trials": 9, "target": 5.0}})
    assert not inner.exhausted
    strategy.extend({"budget": {"trials": 9, "target": 2}})
    assert inner.exhausted
    strategy.extend({"budget": {"trials": 9, "target": None}})
    assert not inner.exhausted


def proxy(number: int, horizon: int = 2) -> Trial:
    return Trial(number, Candidate({"a": number % 6, "b": number // 6 % 6}), epochs=0, horizon=horizon)


def test_looks_at_untrained_networks_are_no_trials_until_they_are_a_hundred() -> None:
    strategy = Budget(Uniform(SETTING), Limits(trials=3), lambda: 0.0)
    for number in range(99):
        strategy.hear(proxy(number))
    assert (strategy.trials, strategy.epochs) == (0, 0)
    strategy.hear(proxy(99))
    assert (strategy.trials, strategy.epochs) == (1, 2)
    assert sum(strategy.ask() is not None for _ in range(9)) == 2
    endless = Budget(Uniform(SETTING), Limits(trials=2), lambda: 0.0)
    for number in range(200):
        endless.hear(proxy(number))
    assert endless.exhausted, "who only looks comes to an end, too"


def test_an_evaluation_of_what_was_trained_is_a_trial() -> None:
    strategy = Budget(Uniform(SETTING), Limits(trials=3), lambda: 0.0)
    strategy.hear(Trial(0, Candidate({"a": 0, "b": 0}), 2, 2))
    strategy.hear(Trial(1, Candidate({"a": 0, "b": 0}), 0, 2, parent=0))
    assert strategy.trials == 2


@pytest.mark.parametrize("top", [0, 2])
def test_what_was_never_trained_is_never_chosen(top: int) -> None:
    """Not even by an objective that is known without training, and where nothing was trained at all."""
    goal = Objective("parameters", Direction.MINIMIZE)
    setting = Setting(SPACE.decisions, (goal,), SPACE, Signature("grid"), epochs=2)
    final = Final(Budget(Uniform(setting), Limits(trials=2), lambda: 0.0), Finale(top=top, epochs=2))
    for number in range(2):
        final.hear(proxy(number))
        final.tell(Result(number, 1, Outcome.COMPLETED, {"parameters": 1.0, "synflow": 9.0}))
    trained = asked(final)
    final.tell(Result(trained.id, 1, Outcome.COMPLETED, {"parameters": 500.0}, 2))
    last = asked(final)
    final.tell(Result(last.id, 1, Outcome.FAILED))
    following = asked(final)
    assert following.note["of"] == trained.id

    looked = Final(Budget(Uniform(setting), Limits(epochs=0), lambda: 0.0), Finale(top=top, epochs=2))
    looked.hear(proxy(0))
    looked.tell(Result(0, 1, Outcome.COMPLETED, {"parameters": 1.0}))
    assert looked.ask() is None
    assert looked.exhausted
