"""Grid search: everything once, in either order, however it is interrupted."""

from __future__ import annotations

import pytest
from progressive import ACCURACY, Chain, completed, simulate, trials_of

from nas.strategies.grid import GridSearch
from nas.strategy import Setting, Strategy
from nas.wrappers.constrain import Constrain
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.grid import Grid
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Result, Trial

DECISIONS = Decisions(
    {
        "optimizer": Choice(("sgd", "adam")),
        "rate": Range(1e-3, 1e-1, log=True, count=3),
        "momentum": Range(0.0, 0.9, count=4, when=When.equals("optimizer", "sgd")),
        "units": Range(1, 3, integer=True, count=8),
    }
)
EVERYTHING = list(Grid(DECISIONS))


def grid(order: str = "shuffled", seed: int = 0, decisions: Decisions = DECISIONS) -> GridSearch:
    return GridSearch(Setting(decisions, (ACCURACY,), seed=seed), order)  # type: ignore[arg-type]


def candidates(strategy: Strategy, slots: int = 3) -> list[Candidate]:
    return [trial.candidate for trial in trials_of(simulate(strategy, lambda t: completed(t, 0.0), slots))]


@pytest.mark.parametrize("slots", [1, 4, 100])
def test_tries_everything_once_and_is_exhausted(slots: int) -> None:
    strategy = grid()
    found = candidates(strategy, slots)
    assert len(found) == len(EVERYTHING) == 3 * 4 * 3 + 3 * 3
    assert set(found) == set(EVERYTHING)
    assert strategy.exhausted
    assert strategy.ask() is None


def test_lists_as_loops_would_or_shuffles_by_the_seed() -> None:
    assert candidates(grid("listed", seed=1)) == candidates(grid("listed", seed=2)) == EVERYTHING
    shuffled = [candidates(grid(seed=seed)) for seed in range(3)]
    assert len({tuple(order) for order in (*shuffled, EVERYTHING)}) == 4


@pytest.mark.parametrize("order", ["listed", "shuffled"])
@pytest.mark.parametrize("cut", [0, 1, 17, 44])
def test_resumes_where_it_was(order: str, cut: int) -> None:
    whole, resumed = grid(order), grid(order)
    trials = [whole.ask() for _ in EVERYTHING]
    for trial in trials[:cut]:
        assert trial is not None
        resumed.hear(trial)
    assert [resumed.ask() for _ in trials[cut:]] == trials[cut:]
    assert resumed.ask() is None


def test_isomorphic_candidates_count_once_however_many_there_are() -> None:
    space = Chain(length=7, letters="abc")
    setting = Setting(space.decisions, (ACCURACY,), space=space)
    every = {space.canonical(candidate) for candidate in Grid(space.decisions)}
    for strategy in (GridSearch(setting), Deduplicate(GridSearch(setting), attempts=1)):
        found = [space.canonical(candidate) for candidate in candidates(strategy)]
        assert len(found) == len(every) == 119
        assert set(found) == every


def test_what_a_user_tried_is_not_tried_again() -> None:
    strategy = grid("listed")
    strategy.hear(Trial(0, EVERYTHING[0]))
    strategy.hear(Trial(1, EVERYTHING[2]))
    strategy.tell(Result(0, 1, Outcome.FAILED))
    assert candidates(strategy) == [EVERYTHING[1], *EVERYTHING[3:]]


def test_a_constraint_takes_some_away_and_the_end_is_still_found() -> None:
    strategy = Constrain(grid(), {"parameters": 1.5}, lambda candidate: {"parameters": float(candidate["units"])})
    found = candidates(strategy, slots=2)
    assert set(found) == {candidate for candidate in EVERYTHING if candidate["units"] == 1}
    assert len(found) == 15
    assert strategy.exhausted


def test_a_huge_grid_is_begun_at_once() -> None:
    decisions = Decisions({f"rate{i}": Range(0.0, 1.0, count=10) for i in range(100)})
    strategy = grid(decisions=decisions)
    first = [strategy.ask() for _ in range(20)]
    assert len({trial.candidate for trial in first if trial}) == 20
    assert {value for trial in first if trial for value in trial.candidate.values()} == set(decisions["rate0"].points)


def test_refuses_another_order() -> None:
    with pytest.raises(UserError, match="order is 'random', but strategy grid knows shuffled and listed"):
        grid("random")
