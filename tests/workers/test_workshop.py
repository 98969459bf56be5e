from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import pytest
import torch
from safetensors.torch import load as unpack
from torch import nn

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Signature
from workers.artifacts import Artifacts
from workers.checkpoint import load
from workers.child import Child
from workers.objectives import Direction, Objective, Outcome
from workers.plugins import Spec
from workers.pool import Progress
from workers.setup import Setup
from workers.task import Epoch, State, Task
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop, task_of

SPACE = Spec("tiny_space:TinySpace", {"drop_path": 0.3})
OPTIONS: dict[str, Any] = {"train_examples": 96, "validation_examples": 50, "batch_size": 40, "dropout": 0.2}
CANDIDATE = Candidate({"filters": 4})


def setup_at(tmp_path: Path, **changes: Any) -> Setup:
    return replace(Setup("s", Spec("image_classification", OPTIONS), SPACE, artifacts=str(tmp_path)), **changes)


def run(workshop: Workshop, attempt: Attempt) -> Result:
    return workshop.run(attempt, lambda progress: None)


def trial(number: int, epochs: int, **changes: Any) -> Trial:
    return Trial(number, CANDIDATE, epochs=epochs, horizon=4, **changes)


def test_a_result_says_all_that_is_known(tmp_path: Path) -> None:
    told: list[Progress] = []
    workshop = Workshop(setup_at(tmp_path))
    result = workshop.run(Attempt(trial(5, 2), 3), told.append)
    assert (result.trial_id, result.attempt, result.outcome, result.error) == (5, 3, Outcome.COMPLETED, None)
    space = workshop.space
    assert space is not None
    counted = sum(p.numel() for p in space.build(CANDIDATE, workshop.task.signature).parameters())
    assert result.metrics["parameters"] == counted
    assert set(result.metrics) == {"parameters", "multiply_adds", "accuracy", "loss", "train_loss"}
    assert [(one.trial_id, one.attempt, one.epoch) for one in told] == [(5, 3, 1), (5, 3, 2)]
    assert result.epochs == 2
    assert result.checkpoint == "checkpoint.safetensors"
    assert result.peak_bytes > 50 << 20
    assert Result.from_json(result.json()) == result
    state = load(Artifacts.open(str(tmp_path)).get("s", 5, 3, "checkpoint.safetensors"))
    assert state.epoch == 2


def test_equal_seeds_give_equal_results_whatever_ran_before(tmp_path: Path) -> None:
    workshop = Workshop(setup_at(tmp_path))
    first = run(workshop, Attempt(trial(1, 2, seed=3)))
    run(workshop, Attempt(trial(2, 1, seed=4)))
    torch.manual_seed(99)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    again = run(workshop, Attempt(trial(3, 2, seed=3)))
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() is torch.float32
    assert again.metrics == first.metrics
    assert run(workshop, Attempt(trial(4, 2, seed=5))).metrics != first.metrics


def test_the_weights_that_training_begins_with_are_drawn_from_the_seed(tmp_path: Path) -> None:
    workshop = Workshop(setup_at(tmp_path))
    first, again, other = (
        run(workshop, Attempt(trial(number, 0, seed=seed))) for number, seed in ((1, 3), (2, 3), (3, 5))
    )
    assert first.metrics == again.metrics
    assert first.metrics["synflow"] != other.metrics["synflow"]


def test_networks_do_not_outlive_their_trial(tmp_path: Path) -> None:
    workshop = Workshop(setup_at(tmp_path))
    run(workshop, Attempt(trial(1, 1)))
    run(Workshop(setup_at(tmp_path, ceilings={"loss": 0.0})), Attempt(trial(2, 1)))
    diverging = Spec("image_classification", {**OPTIONS, "learning_rate": 900.0, "gradient_clipping": 0})
    run(Workshop(setup_at(tmp_path, task=diverging)), Attempt(trial(3, 4)))
    gc.collect()
    assert [one for one in gc.get_objects() if type(one).__name__ == "TinyNet"] == []


def test_a_failure_lets_go_of_its_network_before_its_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that comes of another, such as the watch's of what it told the child, leads to its frames as well."""
    network: list[weakref.ref[nn.Module]] = []
    alive: list[bool] = []

    def train() -> None:
        held = nn.Linear(1, 1)
        network.append(weakref.ref(held))
        raise ValueError("first")

    setup = setup_at(Path("nowhere"))
    child = Child(setup, task_of(setup.task), None, None, Attempt(trial(0, 1)))
    try:
        try:
            train()
        except ValueError as first:
            raise MemoryError("it held too much") from first
    except MemoryError as failure:
        monkeypatch.setattr("workers.child.gc.collect", lambda: alive.append(network[0]() is not None))
        child.fail(failure)
    assert alive == [False]


def test_a_child_has_the_threads_of_its_setup(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            run(Workshop(setup_at(tmp_path, threads=threads)), Attempt(trial(1, 1)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def family(first: int) -> tuple[Attempt, Attempt, Attempt]:
    """A trial of one epoch, its continuation to the second, and that one's to the fourth."""
    parent = Attempt(trial(first, 1), 2)
    child = Attempt(trial(first + 1, 2, parent=first), 1, parent)
    return parent, child, Attempt(trial(first + 2, 4, parent=first + 1), 1, child)


@pytest.mark.parametrize("gone", ["nothing", "one", "damaged", "all"])
def test_children_go_on_from_their_parent_or_train_it_again(tmp_path: Path, gone: str) -> None:
    workshop = Workshop(setup_at(tmp_path))
    straight = run(workshop, Attempt(trial(0, 4)))
    parent, child, grandchild = family(10)
    assert run(workshop, parent).epochs == 1
    assert run(workshop, child).epochs == 1
    artifacts = Artifacts.open(str(tmp_path))
    if gone in ("one", "all"):
        artifacts.delete("s", 11, 1, "checkpoint.safetensors")
    if gone == "all":
        artifacts.delete("s", 10, 2, "checkpoint.safetensors")
    if gone == "damaged":
        path = tmp_path / "s" / "11" / "1" / "checkpoint.safetensors"
        path.write_bytes(path.read_bytes()[:-3])
    last = run(workshop, grandchild)
    assert last.metrics == straight.metrics
    assert last.epochs == 2
    kept, expected = (load(artifacts.get("s", i, 1, "checkpoint.safetensors")) for i in (12, 0))
    assert all(torch.equal(kept.tensors[name], expected.tensors[name]) for name in expected.tensors)


def test_the_test_set_is_scored_with_the_parents_weights(tmp_path: Path) -> None:
    workshop = Workshop(setup_at(tmp_path))
    parent = Attempt(trial(1, 2))
    run(workshop, parent)
    tested = run(workshop, Attempt(trial(2, 0, parent=1, split="test"), 1, parent))
    assert {"test_accuracy", "test_correct", "test_total", "parameters"} <= set(tested.metrics)
    assert "accuracy" not in tested.metrics
    assert (tested.epochs, tested.checkpoint) == (0, None)
    examples = unpack(Artifacts.open(str(tmp_path)).get("s", 2, 1, "examples.safetensors"))
    assert {name: tuple(value.shape) for name, value in examples.items()} == {
        "input/image": (8, 1, 8, 8),
        "output/logits": (8, 10),
    }


def test_a_child_without_its_parent_fails(tmp_path: Path) -> None:
    result = run(Workshop(setup_at(tmp_path)), Attempt(trial(2, 2, parent=1)))
    assert result.outcome is Outcome.FAILED
    assert "continues trial 1, but was not given it" in str(result.error)


def test_what_is_over_a_ceiling_is_infeasible_before_it_trains(tmp_path: Path) -> None:
    told: list[Progress] = []
    workshop = Workshop(setup_at(tmp_path, ceilings={"parameters": 100}))
    result = workshop.run(Attempt(trial(1, 2)), told.append)
    assert result.outcome is Outcome.INFEASIBLE
    assert str(result.error).startswith("parameters is 2")
    assert "over its ceiling of 100" in str(result.error)
    assert told == []
    assert "parameters" in result.metrics
    late = Workshop(setup_at(tmp_path, ceilings={"loss": 0.001}))
    assert run(late, Attempt(trial(1, 1))).outcome is Outcome.INFEASIBLE


def test_latency_is_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    result = run(Workshop(setup_at(tmp_path, measure=("latency",))), Attempt(trial(1, 1)))
    assert 0 < result.metrics["latency"] < 1
    strict = Workshop(setup_at(tmp_path, measure=("latency",), ceilings={"latency": 1e-9}))
    refused = run(strict, Attempt(trial(1, 1)))
    assert (refused.outcome, refused.epochs) == (Outcome.INFEASIBLE, 0)
    unmeasured = run(Workshop(setup_at(tmp_path)), Attempt(trial(1, 1)))
    assert {**result.metrics, "latency": 0} == {**unmeasured.metrics, "latency": 0}


@final
@dataclass(frozen=True)
class Failing(Task):
    """Two good epochs, then what the decision says."""

    @property
    def decisions(self) -> Decisions:
        return Decisions({"how": Choice(("device", "torch", "host", "error", "nan", "exit"))})

    @property
    def signature(self) -> Signature:
        return Signature("failing", {"image": (1, 8, 8)}, {"logits": (10,)})

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (Objective("value", Direction.MAXIMIZE),)

    @property
    def epochs(self) -> int:
        return 4

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        for epoch in range(2):
            yield Epoch({"value": float(epoch)})
        match trial.candidate["how"]:
            case "device":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
            case "torch":
                torch.empty(1 << 60, dtype=torch.uint8)
            case "host":
                raise MemoryError
            case "error":
                raise KeyError("lost")
            case "nan":
                yield Epoch({"value": float("nan")})
        for epoch in range(2, 50):
            yield Epoch({"value": float(epoch)})


FAILING = Spec("test_workshop:Failing")


@pytest.mark.parametrize(
    ("how", "outcome", "error"),
    [
        ("device", Outcome.INFEASIBLE, "out of memory (CUDA out of memory"),
        ("torch", Outcome.INFEASIBLE, "out of memory ("),
        ("host", Outcome.INFEASIBLE, "out of memory ("),
        ("error", Outcome.FAILED, "KeyError: 'lost' (test_workshop.py, line "),
        ("nan", Outcome.FAILED, "the metric value is nan after epoch 3"),
    ],
)
def test_how_a_child_can_end(tmp_path: Path, how: str, outcome: Outcome, error: str) -> None:
    workshop = Workshop(setup_at(tmp_path, task=FAILING, space=None))
    result = run(workshop, Attempt(Trial(1, Candidate({"how": how}), epochs=4)))
    assert result.outcome is outcome
    assert str(result.error).startswith(error)
    assert "\n" not in str(result.error)
    assert result.metrics == {}  # so that a strategy hears the worst value seen
    kept = [one.name for one in Artifacts.open(str(tmp_path)).list("s")]
    assert kept == (["traceback.txt"] if how == "error" else [])


def test_over_its_time_limit_a_child_fails_with_its_last_metrics(tmp_path: Path) -> None:
    workshop = Workshop(setup_at(tmp_path, task=FAILING, space=None, time_limit=1e-9))
    result = run(workshop, Attempt(Trial(1, Candidate({"how": "exit"}), epochs=40)))
    assert result.outcome is Outcome.FAILED
    assert str(result.error).startswith("over its time limit")
    assert (result.metrics, result.epochs) == ({"value": 0.0}, 1)
    done = run(workshop, Attempt(Trial(1, Candidate({"how": "exit"}), epochs=1)))
    assert done.outcome is Outcome.FAILED  # it yields more often than it was asked to
    assert done.epochs == 2


def test_no_limit_undoes_a_test(tmp_path: Path) -> None:
    trained = Attempt(trial(1, 1))
    run(Workshop(setup_at(tmp_path)), trained)
    test = replace(trial(2, 0), parent=1, split="test")
    strict = setup_at(tmp_path, measure=("latency",), ceilings={"latency": 1e-9}, time_limit=1e-9, objectives=("loss",))
    result = run(Workshop(strict), Attempt(test, parent=trained))
    assert (result.outcome, result.error) == (Outcome.COMPLETED, None)
    assert "test_accuracy" in result.metrics


def test_time_and_seconds_are_limited_in_proportion_to_the_epochs(tmp_path: Path) -> None:
    setup = setup_at(tmp_path, task=FAILING, space=None, time_limit=10.0, ceilings={"seconds": 3.0, "value": 2.0})
    longer, shorter = Trial(1, Candidate({}), epochs=8), Trial(1, Candidate({}), epochs=0)
    assert (setup.limit(longer), setup.ceiling("seconds", longer)) == (10.0, 3.0)
    setup = replace(setup, epochs=4)
    assert (setup.limit(longer), setup.ceiling("seconds", longer), setup.ceiling("value", longer)) == (20.0, 6.0, 2.0)
    assert (setup.limit(shorter), setup.ceiling("seconds", shorter)) == (10.0, 3.0)


def test_a_checkpoint_that_cannot_be_kept_costs_the_checkpoint_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    workshop = Workshop(setup_at(tmp_path))
    monkeypatch.setattr("os.fsync", full)
    result = run(workshop, Attempt(trial(1, 1)))
    assert result.outcome is Outcome.COMPLETED
    assert result.checkpoint is None
    assert "No space left" in str(result.error)
    assert "accuracy" in result.metrics


def test_a_missing_data_set_is_said_in_one_line(tmp_path: Path) -> None:
    task = Spec("image_classification", {"dataset": str(tmp_path / "gone.npz")})
    result = run(Workshop(setup_at(tmp_path, task=task)), Attempt(trial(1, 1)))
    assert result.outcome is Outcome.FAILED
    assert str(result.error).startswith("there is no file")
    assert Artifacts.open(str(tmp_path)).list("s") == ()


def test_a_network_needs_a_space(tmp_path: Path) -> None:
    result = run(Workshop(setup_at(tmp_path, space=None)), Attempt(trial(1, 1)))
    assert "the job names none: add `space`" in str(result.error)


def test_a_setup_survives_its_journey() -> None:
    setup = Setup("s", Spec("t", {"a": 1}), SPACE, "/a", 2, 3.0, ("latency",), {"parameters": 5}, "/f", 4, ("loss",))
    assert Setup.from_json(setup.json()) == setup


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, workers.workshop, workers.tasks.image_classification, workers.tasks.function\n"
        "print({'torch', 'ray', 'pandas', 'numpy', 'sklearn', 'torchvision', 'fsspec'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
