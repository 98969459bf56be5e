"""Halving against the paper's rule counted anew, against synchronous halving, and against Hyperband's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from progressive import ACCURACY, completed, simulate, trials_of

from nas.ranking import dominates
from nas.rungs import ladder
from nas.strategies.halving import Halving
from nas.strategy import Draw, Setting
from nas.wrapper import Rejecting
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice, Range
from search_spaces.decisions import Decisions
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

RATES = Decisions({"rate": Range(0.0, 1.0)})
LOSS = Objective("loss", Direction.MINIMIZE)
WORST = -1e9


def halving(epochs: int = 9, decisions: Decisions = RATES, **options: Any) -> Halving:
    return Halving(Setting(decisions, (ACCURACY,), epochs=epochs, seed=5), **options)


@pytest.mark.parametrize(
    ("epochs", "fidelities", "eta", "least", "expected"),
    [
        (81, (), 3, 1, (1, 3, 9, 27, 81)),
        (81, (), 3, 5, (9, 27, 81)),
        (16, (), 4, 1, (1, 4, 16)),
        (100, (), 3, 1, (1, 4, 11, 33, 100)),
        (10, (), 3, 2, (3, 10)),
        (1, (), 3, 1, (1,)),
        (2, (), 3, 1, (2,)),
        (200, (12,), 3, 1, (12, 200)),
        (108, (4, 12, 36), 3, 1, (4, 12, 36, 108)),
        (108, (4, 12, 36), 3, 12, (12, 36, 108)),
        (100, (50,), 3, 1, (50, 100)),
        (100, tuple(range(1, 100)), 3, 1, (1, 4, 11, 33, 100)),
        (100, (90, 95), 3, 1, (90, 100)),
    ],
)
def test_rungs_lie_a_factor_apart_on_what_there_is(
    epochs: int, fidelities: tuple[int, ...], eta: int, least: int, expected: tuple[int, ...]
) -> None:
    assert ladder(epochs, fidelities, eta, least) == expected
    setting = Setting(RATES, (ACCURACY,), epochs=epochs, fidelities=fidelities)
    assert Halving(setting, eta=eta, min_epochs=least).ladder == expected


class Recount:
    """The rule of the paper, counted anew from all that was told: sorted lists, and no other state."""

    def __init__(self, strategy: Halving) -> None:
        self.strategy = strategy
        self.gains: dict[int, float] = {}  # of the trials that count
        self.trials: dict[int, Trial] = {}

    def promotable(self, eta: int) -> list[list[int]]:
        """By rung, highest first, and bracket: those of the top 1/eta that have no successor."""
        parents = {trial.parent for trial in self.trials.values()}
        found = []
        for rung in reversed(range(len(self.strategy.ladder) - 1)):
            for bracket in range(rung + 1):
                here = [t for t in self.gains if self.where(t) == (bracket, rung)]
                best = sorted(here, key=lambda t: (-self.gains[t], t))[: len(here) // eta]
                found.append([t for t in best if t not in parents and self.gains[t] > WORST])
        return [trials for trials in found if trials]

    def where(self, trial: int) -> tuple[int, int]:
        note = self.trials[trial].note
        return note["bracket"], note["rung"]

    def check(self, trial: Trial, eta: int) -> None:
        """That `trial` is what the rule calls for."""
        deserving = self.promotable(eta)
        self.trials[trial.id] = trial
        bracket, rung = self.where(trial.id)
        assert trial.horizon == self.strategy.ladder[-1]
        assert trial.epochs == self.strategy.ladder[rung]
        if deserving:
            assert trial.parent == deserving[0][0]
            parent = self.trials[trial.parent]
            assert (trial.candidate, trial.seed) == (parent.candidate, parent.seed)
            assert self.where(trial.parent) == (bracket, rung - 1)
        else:
            assert trial.parent is None
            assert bracket == rung


@settings(max_examples=60)
@given(
    eta=st.integers(2, 4),
    brackets=st.integers(1, 3),
    slots=st.integers(1, 9),
    levels=st.integers(1, 50),
    seed=st.integers(0, 10_000),
)
def test_promotes_exactly_whom_the_paper_promotes(eta: int, brackets: int, slots: int, levels: int, seed: int) -> None:
    """Equal gains, failures and infeasible trials included; results come in any order."""
    strategy = halving(27, eta=eta, brackets=brackets)
    recount, generator = Recount(strategy), Random(seed)
    running: list[Trial] = []
    for _ in range(120):
        while len(running) < slots:
            trial = strategy.ask()
            assert trial is not None
            recount.check(trial, eta)
            running.append(trial)
        trial = running.pop(generator.randrange(len(running)))
        outcome = generator.choices([Outcome.COMPLETED, Outcome.FAILED, Outcome.INFEASIBLE], [8, 1, 1])[0]
        gain = generator.randrange(levels)
        strategy.tell(Result(trial.id, 1, outcome, {"accuracy": gain} if outcome is not Outcome.INFEASIBLE else {}))
        if outcome is not Outcome.INFEASIBLE:
            recount.gains[trial.id] = gain if outcome is Outcome.COMPLETED else WORST
    parents = [trial.parent for trial in recount.trials.values() if trial.parent is not None]
    assert len(parents) == len(set(parents)), "each is promoted once"


@pytest.mark.parametrize(("size", "eta"), [(81, 3), (64, 4), (50, 3), (7, 2)])
def test_told_all_at_once_it_is_synchronous_halving(size: int, eta: int) -> None:
    """As many slots as candidates: each rung is told before the next begins, so the survivors are the sorted best."""
    decisions = Decisions({"rate": Range(0.0, 1.0, count=size)})
    strategy = halving(eta**3, decisions, eta=eta, candidates="grid")
    value = {rate: Random(f"{rate}").random() for rate in map(float, decisions["rate"].points)}
    alive, counts = list(value), []
    while True:
        trials: list[Trial] = []
        while (trial := strategy.ask()) is not None:
            trials.append(trial)
        if not trials:
            break
        assert sorted(float(trial.candidate["rate"]) for trial in trials) == sorted(alive)
        counts.append(len(trials))
        for trial in trials:
            strategy.tell(completed(trial, value[float(trial.candidate["rate"])]))
        alive = sorted(alive, key=lambda rate: -value[rate])[: max(1, len(alive) // eta)]
    assert counts == [max(1, size // eta**rung) for rung in range(4)]
    assert strategy.exhausted


def test_brackets_get_as_many_epochs_each_as_in_hyperband() -> None:
    """R = 81, eta = 3: of each bracket Hyperband begins n = 81, 34, 15, 8, 5, rounded up from 5 * 3**s / (s + 1)."""
    strategy = halving(81, brackets=9)
    trials = [strategy.ask() for _ in range(2860)]
    begun = [sum(trial.note["bracket"] == bracket for trial in trials if trial) for bracket in range(5)]
    share = [3**s / (s + 1) for s in (4, 3, 2, 1, 0)]
    assert begun == [pytest.approx(2860 * part / sum(share), abs=2) for part in share]
    assert {trial.epochs for trial in trials if trial} == {1, 3, 9, 27, 81}
    assert all(trial.epochs == 3 ** trial.note["rung"] for trial in trials if trial)


def test_the_best_goes_all_the_way_while_new_ones_begin() -> None:
    strategy = halving(9)

    def answer(trial: Trial) -> Result:
        return completed(trial, -abs(float(trial.candidate["rate"]) - 0.3))

    trials = trials_of(simulate(strategy, answer, slots=4, trials=130))
    by_rung = [[trial for trial in trials if trial.note["rung"] == rung] for rung in range(3)]
    for below, above in pairwise(map(len, by_rung)):  # a few more go on than a third: the best so far may be displaced
        assert below // 3 <= above <= below / 3 + below**0.5
    assert all(abs(float(trial.candidate["rate"]) - 0.3) < 0.15 for trial in by_rung[2][-5:])


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INFEASIBLE])
def test_what_did_not_complete_goes_nowhere(outcome: Outcome) -> None:
    """A trial over its time limit has metrics, but no checkpoint to go on from."""
    strategy = halving(9)
    trials = trials_of(
        simulate(strategy, lambda t: Result(t.id, 1, outcome, {"accuracy": 1.0 * t.id}), slots=3, trials=40)
    )
    assert all(trial.parent is None for trial in trials)


def test_a_failure_counts_as_the_worst_and_an_infeasible_trial_not_at_all() -> None:
    for outcome, parent in ((Outcome.FAILED, 0), (Outcome.INFEASIBLE, None)):
        strategy = halving(9)
        first = [strategy.ask() for _ in range(3)]
        assert all(first)
        for i, ended in enumerate((Outcome.COMPLETED, outcome, outcome)):
            strategy.tell(Result(i, 1, ended, {"accuracy": -1e30} if ended is Outcome.COMPLETED else {}))
        trial = strategy.ask()
        assert trial is not None
        assert trial.parent == parent


def test_several_objectives_go_on_by_front() -> None:
    strategy = Halving(Setting(RATES, (ACCURACY, LOSS), epochs=9))
    generator = Random(3)
    values = {i: (generator.random(), generator.random()) for i in range(60)}
    for _ in values:
        strategy.ask()
    for i, (accuracy, loss) in values.items():
        strategy.tell(Result(i, 1, Outcome.COMPLETED, {"accuracy": accuracy, "loss": loss}))
    promoted: list[int] = []
    while (trial := strategy.ask()) is not None and trial.parent is not None:
        promoted.append(trial.parent)
    points = {i: (accuracy, -loss) for i, (accuracy, loss) in values.items()}
    assert len(set(promoted)) == len(promoted) == 20
    for one in promoted:
        stronger = {i for i in points if dominates(points[i], points[one])}
        assert stronger <= set(promoted), "whoever dominates a survivor survives"
    front = [i for i in points if not any(dominates(points[j], points[i]) for j in points)]
    assert sorted(promoted[: len(front)]) == front


def test_a_space_without_anything_new_still_ends_with_a_full_training() -> None:
    decisions = Decisions({"letter": Choice(("a", "b", "c", "d"))})
    strategy = Deduplicate(halving(9, decisions))
    trials = trials_of(simulate(strategy, lambda t: completed(t, "abcd".index(str(t.candidate["letter"]))), slots=2))
    assert [trial.candidate["letter"] for trial in trials if trial.full] == ["d"]
    assert len(trials) == 4 + 1 + 1
    assert strategy.exhausted


class Picky(Rejecting):
    """Refuses whatever begins, as an exhausted space does."""

    def accepts(self, trial: Trial) -> bool:
        return trial.parent is not None or trial.id < 9


def test_promotions_go_on_when_nothing_new_is_accepted() -> None:
    trials = trials_of(simulate(Picky(halving(9)), lambda t: completed(t, -float(t.id)), slots=3))
    counts = [sum(trial.note["rung"] == rung for trial in trials) for rung in range(3)]
    assert counts == [counts[0], counts[0] // 3, 1]
    assert counts[0] >= 6


def test_refused_promotions_are_followed_by_the_next_ones_then_by_new_candidates() -> None:
    strategy = halving(9)
    for _ in range(9):
        strategy.ask()
    for i in range(9):
        strategy.tell(Result(i, 1, Outcome.COMPLETED, {"accuracy": float(i)}))
    proposals = [strategy.propose(Draw(5, 9, proposal)) for proposal in range(5)]
    assert [trial.parent for trial in proposals if trial] == [8, 7, 6, None, None]
    assert proposals[3] != proposals[4]


@pytest.mark.parametrize("candidates", ["evolution", {"name": "evolution", "population": 5, "sample": 5}])
def test_candidates_come_from_a_strategy_that_learns_from_the_lowest_rung(
    candidates: str | Mapping[str, Any],
) -> None:
    decisions = Decisions({f"d{i}": Choice((0, 1)) for i in range(12)})
    strategy = halving(9, decisions, candidates=candidates)
    heard: list[tuple[int, int, bool]] = []
    asked: Callable[[Trial], None] = strategy.candidates.asked

    def listen(trial: Trial) -> None:
        heard.append((trial.id, trial.epochs, trial.full))
        asked(trial)

    strategy.candidates.asked = listen  # type: ignore[method-assign]
    trials = trials_of(simulate(strategy, lambda t: completed(t, sum(map(int, t.candidate.values()))), trials=150))
    first = [trial for trial in trials if trial.parent is None]
    assert heard == [(trial.id, 1, True) for trial in first], "to that strategy a first rung is all there is"
    early, late = (sum(sum(map(int, t.candidate.values())) for t in some) / 20 for some in (first[:20], first[-20:]))
    assert late > early + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": 1}, "eta is 1, but strategy halving needs at least 2"),
        ({"min_epochs": 0}, "min_epochs is 0"),
        ({"min_epochs": 10}, "min_epochs is 10, but a child is trained for 9"),
        ({"brackets": 0}, "brackets is 0"),
        ({"candidates": "halving"}, "must name another strategy"),
        ({"candidates": {"population": 3}}, "must name another strategy"),
        (
            {"candidates": {"name": "evolution", "popul": 3}},
            "'popul', but the options of evolution are population, sample",
        ),
        ({"candidates": {"name": "random", "popul": 3}}, "'popul', but the options of random are none"),
        ({"candidates": "evolutoin"}, "did you mean 'evolution'"),
    ],
)
def test_refuses_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        halving(9, **options)
