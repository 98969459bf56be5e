"""The strategy surrogate: what it finds, what it avoids, and that it follows from its history."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, final

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from nas.strategies.random import RandomSearch
from nas.strategies.surrogate import SurrogateSearch
from nas.strategy import Draw, Setting, Strategy
from nas.surrogates.advisor import Advisor, Told
from nas.surrogates.codes import Codes
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Signature, Space
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

MIXED = Decisions(
    {
        "optimizer": Choice(("sgd", "adam", "lion")),
        "rate": Range(1e-5, 1.0, log=True),
        "momentum": Range(0.0, 1.0, when=When.equals("optimizer", "sgd")),
        "layers": Range(1, 20, integer=True),
        "units": Choice((16, 32, 64, 128), ordered=True),
        "activation": Choice(("relu", "gelu", "tanh")),
    }
)
LOSS = Objective("loss", Direction.MINIMIZE)
ACCURACY = Objective("accuracy", Direction.MAXIMIZE)


def loss(candidate: Candidate) -> float:
    """At best 0: sgd with rate 0.01 and momentum 0.9, 12 layers of 64 units, gelu."""
    off = abs(math.log10(float(candidate["rate"])) + 2.0) + 0.1 * abs(int(candidate["layers"]) - 12)
    off += 0.3 * abs(math.log2(int(candidate["units"])) - 6) + (candidate["activation"] != "gelu")
    return off + (2 * abs(float(candidate["momentum"]) - 0.9) if candidate["optimizer"] == "sgd" else 1.0)


def ended(trial: Trial, value: float | None) -> Result:
    if value is None:
        return Result(trial.id, 1, Outcome.INFEASIBLE)
    return Result(trial.id, 1, Outcome.COMPLETED, {"loss": value, "accuracy": -value})


def searched(
    strategy: Strategy, trials: int, value: Callable[[Candidate], float | None], workers: int = 1
) -> list[Trial]:
    asked: list[Trial] = []
    running: list[Trial] = []
    while len(asked) < trials:
        trial = strategy.ask()
        assert trial is not None
        asked.append(trial)
        running.append(trial)
        if len(running) == workers:
            done = running.pop(0)
            strategy.tell(ended(done, value(done.candidate)))
    return asked


def setting(decisions: Decisions = MIXED, objective: Objective = LOSS, seed: int = 0) -> Setting:
    return Setting(decisions, (objective,), seed=seed)


@pytest.mark.parametrize("workers", [1, 8])
def test_finds_what_chance_does_not(workers: int) -> None:
    for seed in range(3):
        ours = searched(SurrogateSearch(setting(seed=seed)), 50, loss, workers)
        chance = searched(RandomSearch(setting(seed=seed)), 500, loss)
        assert min(loss(trial.candidate) for trial in ours) < min(loss(trial.candidate) for trial in chance)


def test_finds_a_best_cell_among_categories() -> None:
    table = Decisions({f"edge_{i}": Choice(("none", "skip", "conv", "pool")) for i in range(6)})
    best = ("conv", "skip", "conv", "none", "conv", "pool")

    def matches(candidate: Candidate) -> float:
        return -float(sum(one == other for one, other in zip(candidate.values(), best, strict=True)))

    ours = searched(SurrogateSearch(setting(table)), 60, matches)
    assert min(matches(trial.candidate) for trial in ours) == -6.0


@pytest.mark.parametrize("unit", [1e-12, 1e9])
def test_neither_unit_nor_direction_nor_origin_matters(unit: float) -> None:
    plain = searched(SurrogateSearch(setting()), 20, loss)
    scaled = searched(SurrogateSearch(setting()), 20, lambda candidate: unit * loss(candidate))
    turned = searched(SurrogateSearch(setting(objective=ACCURACY)), 20, loss)
    assert [trial.candidate for trial in turned] == [trial.candidate for trial in plain]
    assert [trial.candidate for trial in scaled][:12] == [trial.candidate for trial in plain][:12]


def test_learns_where_nothing_is_feasible() -> None:
    def value(candidate: Candidate) -> float | None:
        return loss(candidate) if candidate["activation"] == "relu" and float(candidate["rate"]) < 0.05 else None

    ours = searched(SurrogateSearch(setting()), 60, value)
    feasible = [value(trial.candidate) is not None for trial in ours]
    assert sum(feasible[30:]) > 25  # of 30; one in four of random ones


def test_goes_on_where_hardly_anything_is_feasible() -> None:
    table = Decisions({f"d{i}": Choice(tuple("abcdef")) for i in range(5)})
    keys = {key for key in range(6**5) if Random(key).random() < 0.05}

    def value(candidate: Candidate) -> float | None:
        key = 0
        for letter in candidate.values():
            key = 6 * key + "abcdef".index(str(letter))
        return loss_of(candidate) if key in keys else None

    def loss_of(candidate: Candidate) -> float:
        return sum("abcdef".index(str(letter)) for letter in candidate.values())

    ours = searched(Deduplicate(SurrogateSearch(setting(table))), 80, value)
    assert len({trial.candidate for trial in ours}) == 80


def test_everything_of_a_small_space_is_tried_once() -> None:
    table = Decisions({"a": Choice((1, 2, 3)), "b": Range(1, 4, integer=True, when=When.equals("a", 2))})
    strategy = Deduplicate(SurrogateSearch(setting(table)))
    ours = searched(strategy, 6, lambda candidate: float(str(candidate["a"])))
    assert len({trial.candidate for trial in ours}) == table.size() == 6
    assert strategy.ask() is None
    assert strategy.exhausted


def test_a_refused_proposal_is_followed_by_others() -> None:
    strategy = SurrogateSearch(setting())
    searched(strategy, 20, loss)
    draw = Draw(0, 20)
    proposals = []
    for _ in range(50):
        proposals.append(strategy.propose(draw).candidate)
        draw = draw.again()
    assert len(set(proposals)) == 50
    first = Draw(0, 20)
    assert strategy.propose(first).candidate == proposals[0]


def test_workers_are_given_different_trials() -> None:
    strategy = SurrogateSearch(setting())
    searched(strategy, 20, loss)
    running = [strategy.ask() for _ in range(16)]
    assert len({trial.candidate for trial in running if trial is not None}) == 16


def test_a_strategy_restored_late_asks_what_the_unbroken_one_asks() -> None:
    def value(candidate: Candidate) -> float | None:
        return None if candidate["activation"] == "tanh" else loss(candidate)

    unbroken = SurrogateSearch(setting())
    trials = searched(unbroken, 45, value, workers=3)
    for cut in (24, 43):  # what was told then differs in length, and parameters are fitted at other times
        restored = SurrogateSearch(setting())
        for place, trial in enumerate(trials[:cut]):
            restored.hear(trial)
            if place >= 2:
                restored.tell(ended(trials[place - 2], value(trials[place - 2].candidate)))
        assert restored.ask() == trials[cut]


def test_a_short_training_is_no_evidence() -> None:
    strategy = SurrogateSearch(setting())
    searched(strategy, 12, loss)
    other = SurrogateSearch(setting())
    searched(other, 12, loss)
    short = replace(other.trial(Draw(0, 12), MIXED.sample(Random(5))), epochs=0)
    other.hear(short)
    other.tell(ended(short, -100.0))
    draw = Draw(0, 13)
    assert other.propose(draw) == strategy.propose(draw)


def test_a_result_told_twice_moves_the_fits_too() -> None:
    unbroken, restored = SurrogateSearch(setting()), SurrogateSearch(setting())
    trials = searched(unbroken, 12, loss)
    unbroken.propose(Draw(0, 12))  # fits parameters to the first results, in the order of the first telling
    for trial in trials:
        restored.hear(trial)
        restored.tell(ended(trial, loss(trial.candidate)))
    for strategy in (unbroken, restored):
        strategy.tell(Result(trials[0].id, 1, Outcome.FAILED))
    for _ in range(3):
        assert unbroken.ask() == restored.ask()


def test_an_ask_takes_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    ranked = Advisor.ranked

    def spied(advisor: Advisor, told: Told, generator: np.random.Generator) -> Sequence[Candidate]:
        seen.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return ranked(advisor, told, generator)

    monkeypatch.setattr(Advisor, "ranked", spied)
    with threadpool_limits(2, "blas"):
        searched(SurrogateSearch(setting()), 8, loss)
    assert seen
    assert set(seen) == {1}


def test_a_row_that_was_not_completed_is_no_candidate() -> None:
    codes = Codes(MIXED)
    row = codes.rows([{"optimizer": "adam", "rate": 0.1, "layers": 2, "units": 16, "activation": "relu"}])[0]
    row[0] = codes.columns[0].code("sgd")
    with pytest.raises(AssertionError, match="momentum"):
        codes.candidate(row.tolist())


@final
@dataclass(frozen=True)
class Opaque(Space):
    """A space that can only be built, and never is here."""

    @property
    def decisions(self) -> Decisions:
        return MIXED


IMAGES = Signature("image_classification")


def test_a_table_alone_is_not_looked_at_as_networks() -> None:
    alone = searched(SurrogateSearch(setting()), 25, loss)
    for signature in (None, IMAGES):  # with one it could be built, which would raise
        how = Setting(MIXED, (LOSS,), space=Opaque(), signature=signature)
        assert searched(SurrogateSearch(how), 25, loss) == alone


@pytest.mark.parametrize("name", ["initial", "pool"])
def test_refuses_what_makes_no_sense(name: str) -> None:
    options: dict[str, Any] = {name: 0}
    with pytest.raises(UserError, match=f"{name} is 0"):
        SurrogateSearch(setting(), **options)
