from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from search_spaces.decision import Choice, Decision, Range
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.plugins import Spec
from workers.pool import Progress
from workers.setup import Setup
from workers.tasks.function import Function
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop, task_of


def number(decisions: dict[str, Any]) -> float:
    return float(decisions["x"]) ** 2


def metrics(decisions: dict[str, Any]) -> dict[str, Any]:
    return {"loss": np.float32(decisions["x"]), "correct": np.int64(3), "flag": True}


def course(decisions: dict[str, Any], epochs: int) -> Iterator[dict[str, float]]:
    for epoch in range(epochs):
        yield {"loss": decisions["x"] / (epoch + 1)}


def seeded(decisions: dict[str, Any], seed: int, model: object) -> int:
    assert model is None
    return seed


def wrong(decisions: dict[str, Any]) -> str:
    return "good"


def failing(decisions: dict[str, Any]) -> float:
    return 1 / int(decisions["zero"])


def undefined(decisions: dict[str, Any]) -> float:
    return math.nan


def silent(decisions: dict[str, Any]) -> Iterator[float]:
    yield from ()


number.decisions = {"x": {"range": [0.0, 1.0]}, "y": Choice((1, 2))}  # type: ignore[attr-defined]


def run(
    name: str, candidate: dict[str, Any], epochs: int = 1, seed: int = 0, **options: Any
) -> tuple[Result, list[Progress]]:
    told: list[Progress] = []
    workshop = Workshop(Setup("s", Spec(f"test_function_task:{name}", options)))
    attempt = Attempt(Trial(7, Candidate(candidate), epochs=epochs, seed=seed), number=2)
    return workshop.run(attempt, told.append), told


def test_a_number_is_the_metric() -> None:
    result, told = run("number", {"x": 0.5}, metric="error", direction="minimize")
    assert (result.trial_id, result.attempt, result.outcome) == (7, 2, Outcome.COMPLETED)
    assert result.metrics == {"error": 0.25}
    assert told == [Progress(7, 2, 1, {"error": 0.25})]
    assert result.checkpoint is None
    assert result.peak_bytes > 1 << 20
    assert result.seconds >= result.device_seconds > 0


def test_a_dict_is_the_metrics() -> None:
    result, _ = run("metrics", {"x": 0.5})
    assert result.metrics == {"loss": 0.5, "correct": 3.0, "flag": 1.0}
    assert {type(value) for value in result.metrics.values()} == {float}


def test_what_is_yielded_is_told_epoch_by_epoch() -> None:
    result, told = run("course", {"x": 6.0}, epochs=3)
    assert [(one.epoch, one.metrics["loss"]) for one in told] == [(1, 6.0), (2, 3.0), (3, 2.0)]
    assert (result.metrics, result.epochs) == ({"loss": 2.0}, 3)


def test_a_training_without_an_objective_has_failed() -> None:
    setup = Setup("s", Spec("test_function_task:metrics"), objectives=("loss", "accuracy"))
    attempt = Attempt(Trial(0, Candidate({"x": 0.5}), epochs=1))
    result = Workshop(setup).run(attempt, lambda progress: None)
    assert result.outcome is Outcome.FAILED
    assert "accuracy is an objective, but training gave loss, correct, flag" in str(result.error)


def test_seed_and_model_are_given_where_they_are_asked_for() -> None:
    assert run("seeded", {}, seed=11)[0].metrics == {"score": 11.0}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", "the function gave 'good', but must return a number or a dict"),
        ("failing", r"ZeroDivisionError: division by zero \(test_function_task.py, line \d+\)"),
        ("undefined", "the metric score is nan after epoch 1"),
        ("silent", "must yield at least once"),
    ],
)
def test_failures_are_one_line(name: str, message: str) -> None:
    result, _ = run(name, {"zero": 0})
    assert result.outcome is Outcome.FAILED
    assert result.error is not None
    assert "\n" not in result.error
    with pytest.raises(UserError, match=message):
        raise UserError(result.error)
    assert result.metrics == {}


def test_decisions_come_from_the_job_or_else_from_the_function() -> None:
    table: dict[str, Decision] = {"x": Range(0.0, 1.0), "y": Choice((1, 2))}
    assert dict(task_of(Spec("test_function_task:number")).decisions) == table
    given = task_of(Spec("test_function_task:number", {"decisions": {"z": {"choice": [1]}}}))
    assert dict(given.decisions) == {"z": Choice((1,))}
    assert dict(Function(call=number, decisions=Decisions(table)).decisions) == table
    assert dict(task_of(Spec("function", {"call": "test_function_task:number"})).decisions) == table


def test_objectives_are_named_by_the_options() -> None:
    assert Function(call=number).objectives == (Objective("score", Direction.MAXIMIZE),)
    task = Function(call=number, metric="loss", direction="minimize", epochs=5)
    assert task.objectives == (Objective("loss", Direction.MINIMIZE),)
    assert task.epochs == 5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Spec("function"), "needs `call`"),
        (Spec("function", {"call": "test_function_task:absent"}), "has no absent"),
        (Spec("function", {"call": "test_function_task:table"}), "must be a function of decisions"),
        (Spec("test_function_task:table"), "neither a Task nor a function"),
        (Spec("test_function_task:Thing"), "neither a Task nor a function"),
        (Spec("test_function_task:number", {"direction": "up"}), "must be maximize or minimize"),
        (Spec("test_function_task:number", {"decisions": {"x": 3}}), "decisions must be a table"),
        (Spec("test_function_task:number", {"decisions": {"x": {"rang": [0, 1]}}}), "needs either choice"),
    ],
)
def test_mistakes_are_named(spec: Spec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        task_of(spec)


table = {"x": 1}


class Thing:
    """Neither a task nor a function."""


def test_a_function_that_returns_nothing_new_costs_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, test_function_task as t\n"
        "result, _ = t.run('number', {'x': 0.5})\n"
        "assert result.metrics == {'score': 0.25}, result\n"
        "heavy = {'torch', 'ray', 'pandas', 'sklearn', 'fsspec'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=__file__.rpartition("/")[0], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
