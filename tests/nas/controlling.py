"""A small table with conditional decisions, all its candidates, and a controller and a strategy that write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nas.controllers.controller import Controller
from nas.controllers.learning import Learning
from nas.controllers.lstm import Array
from nas.strategies.reinforce import Reinforce
from nas.strategy import Setting
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Candidate, Decisions
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Attempt, Result, Trial

TABLE = Decisions(
    {
        "kind": Choice(("a", "b", "c")),
        "depth": Range(1, 3, integer=True, count=3, when=When.among("kind", "a", "b")),
        "rate1": Range(1e-3, 1e-1, log=True, count=3, when=When.at_least("depth", 2)),
        "rate2": Range(1e-3, 1e-1, log=True, count=3, when=When.equals("kind", "c")),
        "last": Choice((True, False)),
    }
)
UP = Objective("score", Direction.MAXIMIZE)
DOWN = Objective("score", Direction.MINIMIZE)
SMALL = {"hidden": 6, "batch": 3, "epochs": 2, "learning_rate": 0.05}
SHAPES = {
    "one layer": Learning(layers=1, hidden=5),
    "two layers": Learning(layers=2, hidden=4),
    "squashed": Learning(layers=1, hidden=5, temperature=1.7, tanh_constant=2.5),
    "shared": Learning(layers=2, hidden=3, shared=True, temperature=0.6),
}


def everything(decisions: Decisions = TABLE) -> list[Candidate]:
    """All candidates whose numbers are `points`."""

    def further(values: dict[str, str | int | float | bool], names: list[str]) -> Iterator[Candidate]:
        if not names:
            yield Candidate(values)
            return
        decision = decisions[names[0]]
        if decision.when is not None and not decision.when.holds(values):
            yield from further(values, names[1:])
            return
        for point in decision.points:
            yield from further({**values, names[0]: point}, names[1:])

    return list(further({}, list(decisions)))


def make(objective: Objective = UP, seed: int = 1, **options: Any) -> Reinforce:
    return Reinforce(Setting(TABLE, (objective,), seed=seed), **{**SMALL, **options})


def worth(candidate: Candidate) -> float:
    """Of all candidates, ("b", 3, 0.1, True) is the best."""
    return (
        ("c", "a", "b").index(str(candidate["kind"]))
        + float(candidate.get("depth", 0)) / 2
        + 3 * float(candidate.get("rate1", 0))
    )


def told(trial: Trial, value: float | None = None, outcome: Outcome = Outcome.COMPLETED) -> Result:
    metrics = {"score": worth(trial.candidate) if value is None else value} if outcome is Outcome.COMPLETED else {}
    return Result(trial.id, 1, outcome, metrics)


def answered(attempt: Attempt) -> Result:
    """A training that takes 1 to 7 seconds, for the pool `simulated`."""
    trial = attempt.trial
    value = float(sum(int(value) for value in trial.candidate.values()))
    return Result(trial.id, attempt.number, Outcome.COMPLETED, {"value": value}, trial.epochs, 1.0 + trial.id % 7)


def drawn(controller: Controller, bound: float = 1.0, seed: int = 0) -> dict[str, Array]:
    """Parameters in double precision, large enough that probabilities differ."""
    return controller.initial(bound, np.random.default_rng(seed), "float64")


def slopes(function: Callable[[dict[str, Array]], float], at: dict[str, Array], step: float = 1e-5) -> dict[str, Array]:
    """The gradient of `function` by central differences."""
    found = {}
    for name, value in at.items():
        found[name] = np.zeros_like(value)
        for index in np.ndindex(*value.shape):
            moved = [{**at, name: value.copy()} for _ in range(2)]
            moved[0][name][index] += step
            moved[1][name][index] -= step
            found[name][index] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return found


def assert_close(found: dict[str, Array], wanted: dict[str, Array], tolerance: float = 1e-8) -> None:
    """Whether two gradients agree, tensor by tensor."""
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-5, atol=tolerance, err_msg=name)
