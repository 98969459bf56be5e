"""Optuna as it comes: `optimize` with its default sampler, a tree-structured Parzen estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rivals.problem import Problem
from search_spaces.decision import Choice, Value
from search_spaces.decisions import Candidate

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

PACKAGE = "optuna"


def search(problem: Problem, trials: int, seed: int) -> Sequence[Candidate]:
    """The default sampler; it is named only to give it a seed."""
    from optuna.samplers import TPESampler

    return optimize(problem, trials, TPESampler(seed=seed))


def optimize(problem: Problem, trials: int, sampler: BaseSampler) -> Sequence[Candidate]:
    """Tries of `study.optimize`: the place of an ordered choice as an integer, every other choice as a category."""
    import optuna

    choices = problem.choices
    tried: list[Candidate] = []

    def objective(trial: optuna.Trial) -> float:
        values = {name: _suggest(trial, name, choice) for name, choice in choices.items()}
        tried.append(Candidate(values))
        value = problem.value(tried[-1])
        if value is None:
            raise optuna.TrialPruned
        return value

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize" if problem.minimize else "maximize", sampler=sampler)
    study.optimize(objective, n_trials=trials)
    return tried


def _suggest(trial: optuna.Trial, name: str, choice: Choice) -> Value:
    if choice.ordered:
        return choice.options[trial.suggest_int(name, 0, len(choice.options) - 1)]
    return cast(Value, trial.suggest_categorical(name, choice.options))
