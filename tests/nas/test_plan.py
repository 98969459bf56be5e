"""A plan: what does not fit is refused, the rules are around the strategy, and the cost is known beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stand_ins import FOLDER, GridSpace

from nas.job import Job
from nas.plan import Plan
from nas.strategy import Strategy
from nas.wrapper import Wrapper
from nas.wrappers.baseline import Baseline
from nas.wrappers.budget import Budget
from nas.wrappers.constrain import Constrain
from nas.wrappers.deduplicate import Deduplicate
from nas.wrappers.enqueue import Enqueue
from nas.wrappers.final import Final
from nas.wrappers.retry import Retry
from nas.wrappers.target import Target
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Direction, Objective
from workers.setup import Setup

BASE: dict[str, Any] = {
    "task": "stand_ins:SumTask",
    "space": "stand_ins:GridSpace",
    "strategy": "stand_ins:Uniform",
    "pool": "stand_ins:Instant",
    "folder": FOLDER,
}
MISFITS: list[tuple[dict[str, Any], list[str]]] = [
    ({"space": {"name": "stand_ins:GridSpace", "kind": "text"}}, ["do not fit", "builds 'text'"]),
    ({"space": "pnas"}, ["space pnas and task stand_ins:SumTask do not fit"]),
    ({"space": None}, ["nothing to search", "{range: [low, high]}"]),
    ({"objectives": ["acuracy"]}, ["'acuracy' is no metric of this task", "direction: maximize"]),
    ({"objectives": ["value", "value"]}, ["value stands twice"]),
    ({"task": "language_model", "space": None}, ["language_model trains networks of a space", "docs/networks.md"]),
    ({"task": "image_classification", "space": "pnas", "objectives": ["value"]}, ["'value' is no metric", "accuracy"]),
    ({"constraints": {"paramters": {"max": 5}}}, ["'paramters' is no metric", "did you mean parameters?"]),
    (
        {"task": "image_classification", "space": "pnas", "strategy": "pnas", "objectives": ["accuracy", "parameters"]},
        ["2 objectives", "at most 1"],
    ),
    (
        {"strategy": {"name": "pnas", "beam": 0}, "task": "image_classification", "space": "pnas"},
        ["beam is 0", "at least 1"],
    ),
    (
        {"strategy": {"name": "pnas", "loss": "l2"}, "task": "image_classification", "space": "pnas"},
        ["loss is 'l2'", "list_mle"],
    ),
    (
        {"task": {"name": "stand_ins:SumTask", "scale": {"range": [1.0, 2.0]}}, "space": "stand_ins:ClashSpace"},
        ["scale stands in both tables"],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), MISFITS)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        Plan.of(Job.parse({**BASE, **changes}))
    for fragment in expected:
        assert fragment in str(caught.value)


def test_space_and_task_are_one_table() -> None:
    task = {"name": "stand_ins:SumTask", "scale": {"range": [0.5, 2.0]}}
    plan = Plan.of({**BASE, "task": task})
    assert list(plan.decisions) == ["a", "b", "scale"]
    assert plan.setting.further == ("scale",)


def test_objectives_have_directions_and_the_task_gives_the_default() -> None:
    value = Objective("value", Direction.MAXIMIZE)
    assert Plan.of(BASE).objectives == (value,)
    goals = [
        "value",
        "parameters",
        {"metric": "f1", "direction": "maximize"},
        {"metric": "cost", "direction": "maximize"},
    ]
    plan = Plan.of({**BASE, "objectives": goals})
    assert plan.objectives == (
        value,
        Objective("parameters", Direction.MINIMIZE),
        Objective("f1", Direction.MAXIMIZE),
        Objective("cost", Direction.MAXIMIZE),
    )
    assert Plan.of(plan.record()).objectives == plan.objectives


def test_workers_are_told_what_to_measure_and_what_is_too_much() -> None:
    changes = {
        "objectives": ["value", "latency"],
        "constraints": {"parameters": {"max": 300}, "seconds": {"max": 9}},
        "budget": {"trials": 2, "trial_seconds": 60},
    }
    setup = Plan.of({**BASE, **changes}, "that").setup
    assert (setup.search, setup.measure, setup.time_limit) == ("that", ("latency", "seconds"), 60)
    assert setup.epochs == Plan.of(BASE).task.epochs == 2
    assert setup.ceilings == {"parameters": 300, "seconds": 9}
    assert Setup.from_json(setup.json()) == setup


def rules(strategy: Strategy) -> list[type[Strategy]]:
    """The wrappers from the outside in."""
    return [type(strategy), *rules(strategy.inner)] if isinstance(strategy, Wrapper) else []


def test_rules_are_around_the_strategy() -> None:
    final = Plan.of({**BASE, "constraints": {"parameters": {"max": 100}}, "baseline": 0.5}).strategy()
    assert rules(final) == [Final, Target, Budget, Retry, Baseline, Enqueue, Deduplicate, Constrain]
    trials = [final.ask() for _ in range(10)]
    assert {int(trial.candidate["a"]) for trial in trials if trial} == {0, 1}
    assert [trial.note.get("arm") for trial in trials if trial] == [None, "baseline"] * 5
    assert len({(GridSpace().canonical(t.candidate), t.seed) for t in trials if t}) == 10


def test_a_target_and_retries_are_the_jobs() -> None:
    strategy: Strategy = Plan.of({**BASE, "budget": {"trials": 5, "target": 0.9}, "retries": 3}).strategy()
    said: dict[str, object] = {}
    while isinstance(strategy, Wrapper):
        said |= {name: value for name, value in vars(strategy).items() if name in ("target", "times")}
        strategy = strategy.inner
    assert said == {"target": 0.9, "times": 3}


def test_without_a_share_there_is_no_baseline() -> None:
    final = Plan.of({**BASE, "baseline": 0}).strategy()
    assert [trial.note for _ in range(9) if (trial := final.ask())] == [{}] * 9


def test_artifacts_lie_where_the_job_says_else_beside_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Plan.of({**BASE, "artifacts": "s3://bucket/runs"}).artifacts == "s3://bucket/runs"
    assert Plan.of({**BASE, "artifacts": {"place": str(tmp_path / "x")}}).artifacts == str(tmp_path / "x")
    assert Plan.of({**BASE, "journal": str(tmp_path / "y")}).artifacts == str(tmp_path / "y")
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "z"))
    assert Plan.of(BASE).artifacts == str(tmp_path / "z")
    assert Plan.of({**BASE, "journal": "postgresql://host/base"}).artifacts == str(tmp_path / "z")
    monkeypatch.setenv("NAS_HOME", "postgresql://host/base")
    assert Plan.of(BASE).artifacts == str(Path("~/.cellwright").expanduser())


def test_a_network_is_built_as_its_space_says() -> None:
    plan = Plan.of(BASE)
    candidate = Candidate({"a": 3, "b": 0})
    assert sum(parameter.numel() for parameter in plan.build(candidate).parameters()) == 2 * 4 + 4


def test_an_estimate_counts_what_the_budget_allows() -> None:
    final = {"top": 2, "seeds": 3, "epochs": 5}
    estimate = Plan.of({**BASE, "budget": {"trials": 7}, "final": final}).estimate()
    assert (estimate.trainings, estimate.epochs, estimate.size) == (7 + 6, 7 * 2 + 6 * 5, 36)
    assert estimate.parameters is not None
    assert 0 <= estimate.parameters.smallest <= estimate.parameters.median <= estimate.parameters.largest <= 500
    by_epochs = Plan.of({**BASE, "budget": {"trials": 7, "epochs": 5}, "final": {"top": 0}}).estimate()
    assert (by_epochs.trainings, by_epochs.epochs) == (3, 6)
    assert Plan.of({**BASE, "budget": {"hours": 1}}).estimate().trainings is None


def test_impossible_constraints_are_named_before_anything_trains() -> None:
    with pytest.raises(UserError, match="none of 16 random candidates keeps the constraints"):
        Plan.of({**BASE, "constraints": {"multiply_adds": {"max": 0.5}, "parameters": {"max": 0.5}}}).estimate()


def test_a_function_of_the_users_own_is_a_task(tmp_path: Path) -> None:
    (tmp_path / "own_tuning.py").write_text("def train(decisions):\n    return {'f1': decisions['x']}\n")
    job = {
        "task": {"name": "own_tuning:train", "decisions": {"x": {"range": [0.0, 1.0]}}},
        "objectives": [{"metric": "f1", "direction": "maximize"}],
        "folder": str(tmp_path),
    }
    plan = Plan.of(job)
    assert list(plan.decisions) == ["x"]
    assert not plan.finale.tested
