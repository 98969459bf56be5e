from __future__ import annotations

from collections import Counter

from progressive import ACCURACY, Chain, completed, letters, setting, simulate, trials_of
from scipy.stats import chisquare

from nas.strategies.random import RandomSearch
from nas.strategy import Setting
from search_spaces.decision import Choice
from search_spaces.decisions import Decisions
from workers.objectives import Direction, Objective


def test_draws_the_whole_space_evenly() -> None:
    strategy = RandomSearch(setting(Chain(1, "abcd")))
    trials = trials_of(simulate(strategy, lambda trial: completed(trial, 0.0), trials=2000))
    counts = Counter(letters(trial.candidate) for trial in trials)
    assert len(counts) == 4
    assert chisquare(list(counts.values())).pvalue > 1e-6  # one false alarm in a million seeds, and the seed is fixed


def test_a_proposal_depends_on_the_draw_alone() -> None:
    one, other = (RandomSearch(setting(Chain(3), seed=7)) for _ in range(2))
    fresh = [trial.candidate for trial in trials_of(simulate(one, lambda t: completed(t, 0.0), trials=20))]
    unheard = [trial.candidate for trial in trials_of(simulate(other, lambda t: completed(t, 1.0), slots=5, trials=20))]
    assert fresh == unheard


def test_takes_several_objectives_and_no_space() -> None:
    decisions = Decisions({"units": Choice((8, 16))})
    strategy = RandomSearch(Setting(decisions, (ACCURACY, Objective("loss", Direction.MINIMIZE)), epochs=3, seed=5))
    trial = strategy.ask()
    assert trial is not None
    assert (trial.id, trial.epochs, trial.horizon, trial.seed, dict(trial.note)) == (0, 3, 3, 5, {})
    assert not strategy.exhausted
