"""Syne Tune: kernel density estimates in place of a tree (its scheduler `TPE`), with its defaults."""

from __future__ import annotations

from collections.abc import Sequence

from rivals.problem import Problem
from rivals.syne_tune_loop import PACKAGE as PACKAGE
from rivals.syne_tune_loop import optimize
from search_spaces.decisions import Candidate


def search(problem: Problem, trials: int, seed: int) -> Sequence[Candidate]:
    """The scheduler `TPE`."""
    return optimize(problem, trials, seed, "TPE")
