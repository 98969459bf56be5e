"""Syne Tune: Bayesian optimization by density-ratio estimation (Tiao et al., ICML 2021), with its defaults."""

from __future__ import annotations

from collections.abc import Sequence

from rivals.problem import Problem
from rivals.syne_tune_loop import PACKAGE as PACKAGE
from rivals.syne_tune_loop import optimize
from search_spaces.decisions import Candidate


def search(problem: Problem, trials: int, seed: int) -> Sequence[Candidate]:
    """The scheduler `BORE`."""
    return optimize(problem, trials, seed, "BORE")
