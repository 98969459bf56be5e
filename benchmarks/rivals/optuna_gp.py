"""Optuna's Gaussian process (`GPSampler`), everything else as it comes."""

from __future__ import annotations

from collections.abc import Sequence

from rivals.optuna_tpe import optimize
from rivals.problem import Problem
from search_spaces.decisions import Candidate

PACKAGE = "optuna"


def search(problem: Problem, trials: int, seed: int) -> Sequence[Candidate]:
    """`study.optimize` with `GPSampler`."""
    from optuna.samplers import GPSampler

    return optimize(problem, trials, GPSampler(seed=seed))
