"""Heirs: networks that begin with what another candidate's network learned, as far as they have its tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_space import TinyNet

from nas.epochs import Epochs
from search_spaces.decisions import Candidate
from workers.artifacts import Artifacts
from workers.checkpoint import load
from workers.lineage import CHECKPOINT, Lineage, inherit
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pool import Progress
from workers.setup import Setup
from workers.task import State
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop

TASK = Spec("image_classification", {"train_examples": 60, "validation_examples": 40, "initialiser": "kaiming"})
PARENT = Attempt(Trial(1, Candidate({"filters": 4}), epochs=2, horizon=2))
HEIR = Attempt(Trial(2, Candidate({"filters": 4}), epochs=1, horizon=1, parent=1, seed=5, heir=True), 1, PARENT)


def workshop_at(folder: Path) -> Workshop:
    return Workshop(Setup("s", TASK, Spec("tiny_space:TinySpace"), artifacts=str(folder)))


def run(workshop: Workshop, attempt: Attempt) -> Result:
    told: list[Progress] = []
    result = workshop.run(attempt, told.append)
    assert (result.outcome, result.error) == (Outcome.COMPLETED, None)
    assert [one.epoch for one in told] == list(range(1, attempt.trial.epochs + 1))
    return result


def begun(workshop: Workshop, attempt: Attempt) -> dict[str, torch.Tensor]:
    lineage = Lineage(workshop.setup, workshop.task, workshop.space, workshop.artifacts)
    network = lineage.network(attempt)
    assert network is not None
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_an_heir_begins_with_the_weights_of_its_parent_and_trains_all_its_epochs(tmp_path: Path) -> None:
    workshop = workshop_at(tmp_path)
    run(workshop, PARENT)
    left = load(Artifacts.open(str(tmp_path)).get("s", 1, 1, CHECKPOINT))
    found = begun(workshop, HEIR)
    assert found
    assert all(torch.equal(value, left.tensors[f"model/{name}"]) for name, value in found.items())
    assert run(workshop, HEIR).epochs == 1


def test_an_heir_of_what_is_gone_learns_the_same(tmp_path: Path) -> None:
    workshop, artifacts = workshop_at(tmp_path), Artifacts.open(str(tmp_path))
    run(workshop, PARENT)
    heir = run(workshop, HEIR)
    grandchild = Attempt(Trial(3, Candidate({"filters": 4}), epochs=1, parent=2, seed=6, heir=True), 1, HEIR)
    expected = run(workshop, grandchild)
    for trial in (1, 2):
        artifacts.delete("s", trial, 1, CHECKPOINT)
    assert run(workshop, grandchild).metrics == expected.metrics
    assert run(workshop, HEIR).metrics == heir.metrics
    alone = run(workshop, Attempt(Trial(4, Candidate({"filters": 4}), seed=5)))
    assert alone.metrics != heir.metrics


def test_what_has_another_shape_or_name_begins_afresh() -> None:
    torch.manual_seed(0)
    small, large = (TinyNet(1, filters, 10, 0.0, filters == 8) for filters in (4, 8))
    state = State(1, {f"model/{name}": value.clone() for name, value in small.state_dict().items()})
    before = {name: value.clone() for name, value in large.state_dict().items()}
    assert set(inherit(large, state)) == {"classifier.bias", "stem.1.num_batches_tracked"}
    after = large.state_dict()
    assert torch.equal(after["classifier.bias"], small.state_dict()["classifier.bias"])
    assert torch.equal(after["stem.0.weight"], before["stem.0.weight"])


def test_an_heir_s_epochs_are_all_its_own() -> None:
    epochs = Epochs()
    assert [epochs.add(one.trial) for one in (PARENT, HEIR)] == [2, 1]
    assert Trial.from_json(HEIR.trial.json()) == HEIR.trial
