"""The loop of Syne Tune's own ask-and-tell interface: how a user tunes something that is no script."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from rivals.problem import Problem
from search_spaces.decision import Choice
from search_spaces.decisions import Candidate

PACKAGE = "syne-tune"
METRIC = "value"


def optimize(problem: Problem, trials: int, seed: int, scheduler: str) -> Sequence[Candidate]:
    """A search by one of its baselines, by name; what is infeasible is told as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages beneath it
        return _loop(problem, trials, seed, scheduler)


def _loop(problem: Problem, trials: int, seed: int, scheduler: str) -> Sequence[Candidate]:
    import numpy as np
    from syne_tune.optimizer import baselines
    from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler

    np.random.seed(seed)  # CQR draws from the global generator, whatever seed it is given
    choices = problem.choices
    space = {name: _domain(choice) for name, choice in choices.items()}
    chosen = getattr(baselines, scheduler)(space, METRIC, do_minimize=problem.minimize, random_seed=seed)
    asking = AskTellScheduler(chosen)
    tried: list[Candidate] = []
    for _ in range(trials):
        trial = asking.ask()
        tried.append(Candidate({name: _value(choice, trial.config[name]) for name, choice in choices.items()}))
        value = problem.value(tried[-1])
        if value is None:
            chosen.on_trial_error(trial)
        else:
            asking.tell(trial, {METRIC: value})
    return tried


def _domain(choice: Choice) -> Any:
    """An ordered choice as the whole number that is its place: a number to every searcher, uniformly drawn."""
    from syne_tune import config_space

    if choice.ordered:
        return config_space.randint(0, len(choice.options) - 1)
    return config_space.choice(list(choice.options))


def _value(choice: Choice, found: Any) -> Any:
    return choice.options[found] if choice.ordered else found
