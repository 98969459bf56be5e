"""What holds of every task in the folder, found there: a new file is tested without writing a test."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load as unpack

from search_spaces.decisions import Candidate, Decisions
from workers.checkpoint import load, weights
from workers.child import EXAMPLES
from workers.lineage import CHECKPOINT, network_of
from workers.objectives import Direction, Outcome
from workers.plugins import Spec, available
from workers.pool import Progress
from workers.setup import Setup
from workers.task import Task
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop, task_of

sys.path.insert(0, str(Path(__file__).parents[1] / "workers"))  # where `tiny_space` is

TASKS = sorted(available("workers.tasks", Task))
FEW = {"train_examples": 60, "validation_examples": 40}
SMALL: dict[str, tuple[dict[str, Any], Spec | None]] = {  # options that make a task quick, and a small space that fits
    "function": ({"call": "test_tasks:square"}, None),
    "image_classification": ({**FEW, "learning_rate": {"range": [0.01, 0.1]}}, Spec("tiny_space:TinySpace")),
    "image_generation": (
        {**FEW, "noise": 8, "evaluated": 40, "objective": {"choice": ["hinge", "boundary_equilibrium", "kl"]}},
        Spec("gan", {"widths": [4, 8], "generators": ["plain"], "code": 4}),
    ),
    "image_translation": (FEW, Spec("image_translation", {"widths": [4], "blocks": [1], "discriminator_widths": [4]})),
    "language_model": (
        {"train_tokens": 900, "validation_tokens": 300, "steps": 16, "batch_size": 8, "sample_tokens": 9},
        Spec("recurrent_cell", {"hidden": 8, "nodes": 2}),
    ),
    "reconstruction": (
        {**FEW, "beta": {"range": [0.1, 2.0]}},
        Spec("autoencoder", {"latents": [4], "widths": [8, 16], "depths": [1, 2]}),
    ),
    "sequence_to_sequence": (
        {"examples": 90},
        Spec("seq2seq", {"hidden": [8], "embedding": [8], "layers": [1], "dropout": [0.1]}),
    ),
    "text_classification": (
        {**FEW, "length": 20, "vocabulary_most": 100, "label_smoothing": {"range": [0.0, 0.2]}},
        Spec("recurrent_stack", {"layers": [1], "hidden": [8], "embedding": [8]}),
    ),
}


def square(decisions: dict[str, Any]) -> float:
    return float(decisions["x"]) ** 2


square.decisions = {"x": {"range": [-1.0, 1.0]}}  # type: ignore[attr-defined]


@pytest.fixture(params=TASKS)
def spec(request: pytest.FixtureRequest) -> Spec:
    return Spec(request.param, SMALL[request.param][0])


def workshop_of(spec: Spec, tmp_path: Path) -> tuple[Workshop, Decisions]:
    task = task_of(spec)
    space = SMALL[spec.name][1]
    workshop = Workshop(Setup("contract", spec, space, artifacts=str(tmp_path)))
    return workshop, (workshop.space.decisions if workshop.space else Decisions()) | task.decisions


def run(workshop: Workshop, attempt: Attempt, told: list[Progress] | None = None) -> Result:
    return workshop.run(attempt, (told if told is not None else []).append)


def test_it_is_light_to_import_and_to_ask(spec: Spec) -> None:
    import subprocess

    code = (
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "import json\n"
        "from workers.plugins import Spec\n"
        "from workers.workshop import task_of\n"
        "task = task_of(Spec(sys.argv[1], json.loads(sys.argv[2])))\n"
        "task.decisions, task.objectives, task.epochs\n"
        "assert not {'torch', 'ray', 'pandas'} & set(sys.modules)\n"
    )
    folder = str(Path(__file__).parent)
    if spec.name == "function":
        (code, folder) = (code.replace("assert", "None if True else"), folder)  # it imports what the user's module does
    done = subprocess.run(
        [sys.executable, "-c", code, spec.name, json.dumps(spec.options), folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_it_says_what_it_is(spec: Spec) -> None:
    task = task_of(spec)
    assert isinstance(task, Task)
    assert task.objectives
    assert all(one.direction in Direction for one in task.objectives)
    assert task.epochs >= 1
    assert task.signature.kind
    assert task.needs_space == (SMALL[spec.name][1] is not None)
    assert list(task.decisions) == list(task_of(spec).decisions)


def test_its_metrics_hold_its_objectives_and_are_plain_numbers(spec: Spec, tmp_path: Path) -> None:
    workshop, decisions = workshop_of(spec, tmp_path)
    told: list[Progress] = []
    result = run(workshop, Attempt(Trial(1, decisions.sample(Random(1)), epochs=1, horizon=2)), told)
    assert (result.outcome, result.error) == (Outcome.COMPLETED, None)
    assert {objective.metric for objective in workshop.task.objectives} <= set(result.metrics)
    assert Result.from_json(json.loads(json.dumps(result.json()))) == result
    assert [one.epoch for one in told] == [1]
    assert (result.seconds, result.epochs) > (0, 0)


def test_equal_trials_score_equally(spec: Spec, tmp_path: Path) -> None:
    workshop, decisions = workshop_of(spec, tmp_path)
    candidate = decisions.sample(Random(2))
    first, second = (run(workshop, Attempt(Trial(i, candidate, seed=7))).metrics for i in (1, 2))
    assert first == second


def test_it_goes_on_exactly_where_it_keeps_a_state(spec: Spec, tmp_path: Path) -> None:
    workshop, decisions = workshop_of(spec, tmp_path)
    candidate = decisions.sample(Random(3))
    parent = Attempt(Trial(1, candidate, epochs=1, horizon=3))
    if run(workshop, parent).checkpoint is None:
        assert not list(tmp_path.rglob("*.safetensors"))
        return
    child = run(workshop, Attempt(Trial(2, candidate, epochs=3, horizon=3, parent=1), 1, parent))
    straight = run(workshop, Attempt(Trial(3, candidate, epochs=3, horizon=3)))
    assert child.metrics == straight.metrics
    again = run(
        workshop, Attempt(Trial(4, candidate, epochs=0, horizon=3, parent=3), 1, Attempt(Trial(3, candidate, 3, 3)))
    )
    for objective in workshop.task.objectives:
        assert again.metrics[objective.metric] == straight.metrics[objective.metric]


def test_its_test_leaves_examples_that_what_it_deploys_answers(spec: Spec, tmp_path: Path) -> None:
    workshop, decisions = workshop_of(spec, tmp_path)
    if workshop.space is None:
        return
    parent = Attempt(Trial(1, decisions.sample(Random(5)), epochs=1, horizon=1))
    assert run(workshop, parent).error is None
    tested = run(workshop, Attempt(replace(parent.trial, id=2, epochs=0, parent=1, split="test"), 1, parent))
    assert tested.error is None
    for objective in workshop.task.objectives:
        assert f"test_{objective.metric}" in tested.metrics
    assert workshop.artifacts is not None
    examples = unpack(workshop.artifacts.get("contract", 2, 1, EXAMPLES))
    model = network_of(workshop.space, workshop.task, parent.trial.candidate)
    model.load_state_dict(weights(load(workshop.artifacts.get("contract", 1, 1, CHECKPOINT))))
    deployed = next(iter(workshop.task.deployable(model.eval(), parent.trial.candidate).values()))
    with torch.no_grad():
        answers = deployed.module(*(examples[f"input/{name}"] for name in deployed.inputs))
    answers = answers if isinstance(answers, tuple) else (answers,)
    for name, answer in zip(deployed.outputs, answers, strict=True):
        torch.testing.assert_close(answer, examples[f"output/{name}"], rtol=1e-4, atol=1e-5)


def test_what_it_deploys_takes_its_examples(spec: Spec, tmp_path: Path) -> None:
    workshop, decisions = workshop_of(spec, tmp_path)
    candidate: Candidate = decisions.sample(Random(4))
    if workshop.space is None:
        with pytest.raises(NotImplementedError, match="no model to export"):
            workshop.task.deployable(torch.nn.Identity(), candidate)
        return
    model = workshop.space.build(candidate, workshop.task.signature)
    for deployed in workshop.task.deployable(model, candidate).values():
        assert not deployed.module.training
        answer = deployed.module(*deployed.examples)
        answers = answer if isinstance(answer, tuple) else (answer,)
        assert (len(deployed.examples), len(answers)) == (len(deployed.inputs), len(deployed.outputs))
        assert {len(one) for one in (*deployed.examples, *answers)} == {2}
