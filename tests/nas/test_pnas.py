from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from progressive import (
    ACCURACY,
    RATES,
    Chain,
    Event,
    completed,
    letter_score,
    letters,
    setting,
    simulate,
    trials_of,
)

from nas.strategies.pnas import Pnas
from nas.strategy import Draw, Setting, Strategy
from nas.wrappers.constrain import Constrain
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.cnn.layers import LayersSpace
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

OPERATIONS = ("identity", "separable_3x3", "max_pool_3x3", "average_pool_3x3")


@pytest.fixture(autouse=True)
def _short_fits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "learns" not in request.node.name:
        monkeypatch.setattr("nas.surrogates.ensemble._STEPS", 2)


class Fixed(Chain):
    """A chain that does not say how it grows."""

    @property
    def progressive(self) -> bool:
        return False


def answer(trial: Trial) -> Result:
    return completed(trial, letter_score(trial.candidate))


def by_level(trials: list[Trial]) -> dict[int, list[Trial]]:
    return {
        level: [t for t in trials if t.note["level"] == level] for level in sorted({t.note["level"] for t in trials})
    }


def test_the_demo_trains_36_cells_and_then_the_beam() -> None:
    space = PnasSpace(blocks=3, operations=OPERATIONS)
    levels = by_level(trials_of(simulate(Pnas(setting(space), beam=16), lambda t: completed(t, t.id / 100))))
    assert {level: len(trials) for level, trials in levels.items()} == {1: 36, 2: 16, 3: 16}
    assert all(trial.candidate["blocks"] == level for level, trials in levels.items() for trial in trials)
    assert all(trial.full for trials in levels.values() for trial in trials)
    keys = [space.canonical(trial.candidate) for trials in levels.values() for trial in trials]
    assert len(set(keys)) == len(keys)


def test_the_published_space_begins_with_136_cells() -> None:
    strategy = Pnas(setting(PnasSpace()))
    first = trials_of(simulate(strategy, lambda t: completed(t, 0.5), trials=136))
    assert {trial.note["level"] for trial in first} == {1}
    assert not strategy.exhausted


def test_every_trial_of_a_level_grew_from_the_beam_of_the_level_before() -> None:
    space = PnasSpace(blocks=3, operations=OPERATIONS)
    generator = Random(1)
    scores: dict[int, float] = {}

    def noisy(trial: Trial) -> Result:
        scores[trial.id] = generator.random()
        return completed(trial, scores[trial.id])

    levels = by_level(trials_of(simulate(Pnas(setting(space), beam=5), noisy)))
    for level in (2, 3):
        best = sorted(levels[level - 1], key=lambda trial: -scores[trial.id])[:5]
        children = {child for parent in best for child in space.grow(parent.candidate)}
        assert {trial.candidate for trial in levels[level]} <= children


def test_expansions_may_inherit_the_weights_of_what_they_grew_from() -> None:
    space = Chain(3)
    trials = trials_of(simulate(Pnas(setting(space), beam=4, inherit=True), answer))
    known = {trial.id: trial for trial in trials}
    levels = by_level(trials)
    assert not any(trial.heir or trial.parent is not None for trial in levels[1])
    for level in (2, 3):
        for trial in levels[level]:
            assert trial.heir
            assert trial.parent is not None
            parent = known[trial.parent]
            assert parent.note["level"] == level - 1
            assert trial.candidate in set(space.grow(parent.candidate))
            assert trial.epochs == trial.horizon == parent.epochs
    assert not any(trial.heir for trial in trials_of(simulate(Pnas(setting(space), beam=4), answer)))


def test_nothing_is_inherited_from_what_failed() -> None:
    def failing(trial: Trial) -> Result:
        return Result(trial.id, 1, Outcome.FAILED) if trial.note["level"] == 1 else answer(trial)

    levels = by_level(trials_of(simulate(Pnas(setting(Chain(2)), beam=4, inherit=True), failing)))
    assert levels[2]
    assert not any(trial.heir for trial in levels[2])


def test_the_highest_predictions_are_taken_first() -> None:
    trials = trials_of(simulate(Pnas(setting(Chain(4)), beam=6), answer))
    for level, found in by_level(trials).items():
        predicted = [trial.note.get("predicted") for trial in found]
        assert (predicted == [None] * len(found)) if level == 1 else (predicted == sorted(predicted, reverse=True))  # type: ignore[type-var]
        assert level == 1 or all(-1 <= trial.note["fitted"] <= 1 for trial in found)


def test_learns_what_is_good() -> None:
    trials = trials_of(simulate(Pnas(setting(Chain(4, "abcdefgh")), beam=6), answer))
    assert letters(max(trials, key=lambda t: letter_score(t.candidate)).candidate)
    last = [letter_score(trial.candidate) for trial in by_level(trials)[4]]
    assert sum(last) / len(last) > 0.8


def test_learns_the_other_way_round_when_it_minimises() -> None:
    space = Chain(4, "abcdefgh")
    objective = Objective("accuracy", Direction.MINIMIZE)
    strategy = Pnas(Setting(space.decisions, (objective,), space=space), beam=6)
    last = by_level(trials_of(simulate(strategy, answer)))[4]
    assert sum(letter_score(trial.candidate) for trial in last) / len(last) < 0.2
    assert all(trial.note["predicted"] < 0.5 for trial in last)  # in the metric's own unit and sign


def test_first_level_takes_that_many() -> None:
    trials = trials_of(simulate(Pnas(setting(Chain(2, "abcdefgh")), first_level=3, beam=2), answer))
    assert Counter(trial.note["level"] for trial in trials) == {1: 3, 2: 2}


def test_seeds_differ_and_repeat() -> None:
    def run(seed: int) -> list[Trial]:
        return trials_of(simulate(Pnas(setting(Chain(4), seed=seed), beam=3), answer))

    assert run(1) == run(1)
    assert [trial.candidate for trial in run(1)] != [trial.candidate for trial in run(2)]


@pytest.mark.parametrize("slots", [1, 8, 100])
def test_concurrency_changes_neither_candidates_nor_levels(slots: int) -> None:
    alone = trials_of(simulate(Pnas(setting(Chain(4)), beam=5), answer))
    strategy = Pnas(setting(Chain(4)), beam=5)
    assert trials_of(simulate(strategy, answer, slots, shuffle=slots)) == alone
    assert strategy.exhausted


def test_awaits_the_level_that_runs() -> None:
    strategy = Pnas(setting(Chain(2)), beam=2)
    trials = [trial for _ in range(4) if (trial := strategy.ask()) is not None]
    assert len(trials) == 4
    for trial in trials[:-1]:
        strategy.tell(answer(trial))
        assert strategy.ask() is None
        assert not strategy.exhausted
    strategy.tell(Result(trials[-1].id, 1, Outcome.LOST))  # it will be issued again, and is still awaited
    assert strategy.ask() is None
    strategy.tell(answer(trials[-1]))
    assert strategy.ask() is not None


def some_fail(trial: Trial) -> Result:
    outcome = {0: Outcome.FAILED, 1: Outcome.INFEASIBLE}.get(trial.id % 5, Outcome.COMPLETED)
    metrics = {"accuracy": letter_score(trial.candidate)} if outcome is Outcome.COMPLETED else {}
    return Result(trial.id, 1, outcome, metrics)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INFEASIBLE])
def test_goes_on_when_everything_fails(outcome: Outcome) -> None:
    strategy = Pnas(setting(Chain(3)), beam=2)
    trials = trials_of(simulate(strategy, lambda trial: Result(trial.id, 1, outcome)))
    assert Counter(trial.note["level"] for trial in trials) == {1: 4, 2: 2, 3: 2}
    assert strategy.exhausted


def test_failed_parents_are_expanded_last() -> None:
    space = Chain(2)
    trials = trials_of(simulate(Pnas(setting(space), beam=2), lambda t: some_fail(t) if t.id < 4 else answer(t)))
    failed = {letters(trial.candidate) for trial in trials[:2]}
    assert not failed & {letters(trial.candidate)[0] for trial in trials[4:]}


def continue_as(strategy: Strategy, events: list[Event], cut: int, further: int) -> None:
    """Hear `events` up to `cut`, then ask as the unbroken search did: the same must come."""
    for event in events[:cut]:
        if isinstance(event, Trial):
            strategy.hear(event)
        elif event is not None:
            strategy.tell(event)
    asked = 0
    for event in events[cut:]:
        if isinstance(event, Result):
            strategy.tell(event)
        else:
            assert strategy.ask() == event
            asked += 1
        if asked == further:
            return


@pytest.mark.parametrize("further", [None, RATES])
@pytest.mark.parametrize("make", [Pnas, lambda s, **o: Deduplicate(Pnas(s, **o))], ids=["alone", "deduplicated"])
def test_restored_at_any_moment_it_goes_on_as_if_nothing_had_been(
    make: Callable[..., Strategy], further: Decisions | None
) -> None:
    space = PnasSpace(blocks=3, operations=OPERATIONS[:2])
    how = setting(space, further)

    def result(trial: Trial) -> Result:
        return Result(trial.id, 1, Outcome.FAILED) if trial.id % 7 == 3 else completed(trial, trial.id * 37 % 11 / 11)

    options = {"beam": 4, "members": 2, "surrogate": "mlp", "hyperparameters": "keep"}
    events = simulate(make(how, **options), result, slots=3)
    for cut in range(len(events)):
        continue_as(make(how, **options), events, cut, further=5)


def test_proposing_changes_nothing() -> None:
    strategy, undisturbed = (Pnas(setting(Chain(3), RATES), beam=3) for _ in range(2))
    for _ in range(9):
        draw = Draw(0, strategy.next_id)
        first = strategy.propose(draw)
        strategy.propose(draw.again())
        assert strategy.propose(draw) == first
        asked = strategy.ask()
        assert asked == first == undisturbed.ask()
        if asked is not None:
            strategy.tell(answer(asked))
            undisturbed.tell(answer(asked))


@pytest.mark.parametrize("surrogate", ["lstm", "mlp"])
@pytest.mark.parametrize("loss", ["l1", "list_mle", "pairwise_hinge"])
def test_every_surrogate_and_loss_runs_on_every_kind_of_progressive_space(surrogate: str, loss: str) -> None:
    for space in (Chain(3), PnasSpace(blocks=2, operations=OPERATIONS[:2])):
        strategy = Pnas(setting(space), beam=3, surrogate=surrogate, loss=loss, members=2)
        simulate(strategy, lambda trial: completed(trial, trial.id / 50))
        assert strategy.exhausted


def test_hyperparameters_are_drawn_or_kept() -> None:
    for how, kept in (("draw", False), ("keep", True)):
        strategy = Pnas(setting(Chain(3), RATES), beam=3, hyperparameters=how)
        trials = trials_of(simulate(strategy, answer))
        assert all(strategy.setting.decisions.candidate(trial.candidate) == trial.candidate for trial in trials)
        first = {trial.candidate["rate"] for trial in trials if trial.note["level"] == 1}
        later = [trial.candidate["rate"] for trial in trials if trial.note["level"] > 1]
        assert len(first) == 4
        assert all((rate in first) == kept for rate in later)


def without_a(inner: Strategy) -> Strategy:
    return Constrain(inner, {"as": 0}, lambda candidate: {"as": letters(candidate).count("a")})


@pytest.mark.parametrize("slots", [1, 3])
def test_what_a_wrapper_refuses_is_replaced_by_the_next_in_line(slots: int) -> None:
    strategy = without_a(Pnas(setting(Chain(3)), beam=4))
    trials = trials_of(simulate(strategy, answer, slots))
    assert Counter(trial.note["level"] for trial in trials) == {1: 3, 2: 4, 3: 4}
    assert not any("a" in letters(trial.candidate) for trial in trials)
    assert strategy.exhausted


def test_ends_when_everything_is_refused() -> None:
    strategy = Constrain(Pnas(setting(Chain(3)), beam=4), {"any": 0}, lambda _: {"any": 1})
    assert strategy.ask() is None
    assert strategy.exhausted


def test_trials_of_others_are_not_its_own() -> None:
    strategy = Pnas(setting(Chain(2)), beam=2)
    strategy.hear(Trial(0, Candidate({"length": 2, "step1": "a", "step2": "a"}), note={"arm": "enqueued"}))
    strategy.tell(Result(0, 1, Outcome.COMPLETED, {"accuracy": 1.0}))
    trials = trials_of(simulate(strategy, answer))
    assert Counter(trial.note["level"] for trial in trials) == {1: 4, 2: 2}
    assert trials[0].id == 1


def told_of_others(strategy: Strategy, scores: dict[str, float], first: int = -1) -> None:
    """Trials of an earlier search, their numbers below 0."""
    for number, (word, score) in enumerate(scores.items()):
        values = {"length": len(word)} | {f"step{step}": letter for step, letter in enumerate(word, 1)}
        trial = Trial(first - number, Candidate(values), note={"arm": "earlier"})
        strategy.hear(trial)
        strategy.tell(completed(trial, score))


def test_learns_from_the_trials_of_others() -> None:
    """What is told alike of the first level says nothing; what others found says that d is good behind anything."""
    found = []
    for others in ({}, {one + two: float(two == "d") for one in "abcd" for two in "abcd"}):
        strategy = Pnas(setting(Chain(2, "abcd")), beam=2)
        told_of_others(strategy, others)
        found.append(trials_of(simulate(strategy, lambda trial: completed(trial, 0.5))))
    alone, taught = ([letters(trial.candidate) for trial in by_level(trials)[2]] for trials in found)
    assert alone != taught
    assert all("d" in word for word in taught)


@pytest.mark.parametrize("at", [0, 3, 4, 6, 7])
def test_what_is_told_of_others_counts_from_the_next_level_on(at: int) -> None:
    """Wherever it comes in, also between a proposal and the ask, a restored search goes on as the unbroken one."""

    def search() -> tuple[Strategy, list[Event]]:
        strategy = Pnas(setting(Chain(3)), beam=3)
        events: list[Event] = []
        for number in range(9):
            if number == at:
                strategy.propose(Draw(0, strategy.next_id))
                told_of_others(strategy, {"ba": 1.0, "ab": 0.0, "dd": 0.3})
            trial = strategy.ask()
            assert trial is not None
            strategy.tell(answer(trial))
            events += [trial, answer(trial)]
        return strategy, events

    unbroken, events = search()
    restored = Pnas(setting(Chain(3)), beam=3)
    for place, event in enumerate(events):
        if place == 2 * at:
            told_of_others(restored, {"ba": 1.0, "ab": 0.0, "dd": 0.3})
        if isinstance(event, Trial):
            restored.hear(event)
        elif event is not None:
            restored.tell(event)
    assert restored.ask() == unbroken.ask()


def test_a_level_that_has_begun_is_not_planned_anew() -> None:
    def second_level(others: dict[str, float]) -> list[Trial]:
        strategy = Pnas(setting(Chain(2)), beam=4)
        for _ in range(5):
            trial = strategy.ask()
            assert trial is not None
            strategy.tell(completed(trial, 0.5))
        told_of_others(strategy, others)
        return [trial for _ in range(3) if (trial := strategy.ask()) is not None]

    assert second_level({}) == second_level({one + two: float(two == "d") for one in "abcd" for two in "abcd"})


def test_a_space_too_large_to_enumerate_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    space = LayersSpace(depths=(2, 3, 4), kernels=(1, 3), filters=(24, 36, 48, 64))
    monkeypatch.setattr("nas.progressive.MANY", 50)
    monkeypatch.setattr("nas.surrogates.frontier._WHOLE", 60)
    with pytest.raises(UserError, match=r"LayersSpace has more than .* smallest candidates, .*: set first_level"):
        Pnas(setting(space))
    runs = []
    for _ in range(2):
        strategy = Pnas(setting(space), first_level=9, beam=4, surrogate="mlp")
        runs.append(trials_of(simulate(strategy, lambda trial: completed(trial, trial.id / 50))))
        assert strategy.exhausted
    trials = runs[0]
    assert runs[0] == runs[1]
    assert Counter(trial.candidate["depth"] for trial in trials) == {2: 9, 3: 4, 4: 4}
    assert all(space.decisions.candidate(trial.candidate) == trial.candidate for trial in trials)
    assert len({space.canonical(trial.candidate) for trial in trials}) == len(trials)
    for child in by_level(trials)[2]:
        assert any(
            parent.candidate.items() - {("depth", 2)} <= child.candidate.items() for parent in by_level(trials)[1]
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_as_bad_as_the_worst(value: float) -> None:
    strategy = Pnas(setting(Chain(2)), beam=2)
    trials = trials_of(simulate(strategy, lambda t: completed(t, value) if t.id == 0 else answer(t)))
    assert Counter(trial.note["level"] for trial in trials) == {1: 4, 2: 2}
    assert all(math.isfinite(trial.note["predicted"]) for trial in trials[4:])
    assert letters(trials[0].candidate) not in {letters(trial.candidate)[0] for trial in trials[4:]}


def test_several_objectives_are_refused() -> None:
    space = Chain(2)
    how = Setting(space.decisions, (ACCURACY, Objective("loss", Direction.MINIMIZE)), space=space)
    with pytest.raises(UserError, match=r"2 objectives \(accuracy, loss\) are given, but Pnas takes at most 1"):
        Pnas(how)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "beam is 0, but .* at least 1"),
        ({"first_level": 0}, "first_level is 0"),
        ({"members": -1}, "members is -1"),
        ({"surrogate": "tree"}, "surrogate is 'tree', but strategy pnas knows mlp, lstm"),
        ({"loss": "mse"}, "loss is 'mse'.*list_mle"),
        ({"hyperparameters": "fix"}, "hyperparameters is 'fix'.*draw, keep"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pnas(setting(Chain(2)), **options)  # type: ignore[arg-type]


def test_torch_is_not_imported_with_the_strategies() -> None:
    code = (
        "import sys, nas.strategies.pnas, nas.strategies.random, nas.surrogates.correlation;"
        "assert not {'torch', 'numpy', 'ray'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
