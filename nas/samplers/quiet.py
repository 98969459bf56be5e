"""Quiet: Optuna's log and its warnings of what we chose knowingly, kept back for as long as it is asked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import ExperimentalWarning


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, Optuna logs nothing and warns of nothing; outside, a user's own studies are as they were.

    What is kept back: that a sampler is experimental, that it samples a conditional decision by itself, and that it
    clips the infinite values with which infeasible trials are told.
    """
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", RuntimeWarning)  # of numpy, where values fill the range of a float
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
