"""Trials whose children share weights, from the setup of a worker to the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pytest

from parameter_server.memory_store import MemoryStore
from parameter_server.optimizers import SGD
from parameter_server.store import Pull, Pushed, PushId, Store, StoreError, Version
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.setup import Setup
from workers.sharing import Sharing
from workers.tasks.image_classification import ImageClassification
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop

if TYPE_CHECKING:
    from parameter_server.store import Gradients, Tensors

CELLS: dict[str, Any] = {"blocks": 2, "cells": 1, "filters": 4}
SPACE = PnasSpace(**CELLS)
OPTIONS: dict[str, Any] = {
    "dataset": "digits",
    "train_examples": 320,
    "validation_examples": 100,
    "batch_size": 32,
    "dropout": 0.2,
    "crop": 1,
}
BATCHES = 10


@final
class Watched(Store):
    """A store that notes what is pulled and each push, and refuses pushes after `last` of them."""

    def __init__(self, inner: Store, last: int | None = None) -> None:
        self.inner, self.last = inner, last
        self.pushes: list[tuple[PushId, Pushed]] = []
        self.gradients: list[Gradients] = []
        self.pulled: list[frozenset[str]] = []

    def create(self, tensors: Tensors) -> tuple[str, ...]:
        return self.inner.create(tensors)

    def pull(
        self, names: Iterable[str] | None = None, newer_than: Version | None = None, into: Tensors | None = None
    ) -> Pull:
        pull = self.inner.pull(names, newer_than)
        self.pulled.append(frozenset(pull.tensors))
        return pull

    def push(self, gradients: Gradients, base: Version, push_id: PushId) -> Pushed:
        if len(self.pushes) == self.last:
            raise StoreError("the worker dies here")
        pushed = self.inner.push(gradients, base, push_id)
        self.pushes.append((push_id, pushed))
        self.gradients.append(gradients)
        return pushed

    def join(self, client: str, attempt: int = 0) -> int:
        return self.inner.join(client, attempt)

    def beat(self, client: str, attempt: int = 0) -> None:
        self.inner.beat(client, attempt)

    def leave(self, client: str, attempt: int = 0) -> None:
        self.inner.leave(client, attempt)


def candidates(count: int) -> list[Candidate]:
    generator = Random(1)
    return [SPACE.decisions.sample(generator) for _ in range(count)]


def workshop(store: Store, children: int = 3, artifacts: Path | None = None, **options: Any) -> Workshop:
    task, space = Spec("image_classification", {**OPTIONS, **options}), Spec("pnas", CELLS)
    setup = Setup("s", task, space, artifacts=str(artifacts or ""), sharing=Sharing("", children, seed=1))
    assert Setup.from_json(setup.json()) == setup
    return Workshop(setup, store)


def trial(number: int, epochs: int = 1, **changes: Any) -> Trial:
    return Trial(number, candidates(number + 1)[number], epochs, max(1, epochs), shared=True, **changes)


def run(there: Workshop, attempt: Attempt | Trial) -> Result:
    return there.run(attempt if isinstance(attempt, Attempt) else Attempt(attempt), lambda progress: None)


def everything(store: Store) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.array(value) for name, value in store.pull().tensors.items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_trial_trains_the_shared_weights_and_is_scored_with_them(tmp_path: Path) -> None:
    store = Watched(MemoryStore(SGD(0.05)))
    result = run(workshop(store, artifacts=tmp_path), trial(0, epochs=2))
    assert (result.outcome, result.error, result.epochs) == (Outcome.COMPLETED, None, 2)
    assert set(result.metrics) == {"parameters", "multiply_adds", "accuracy", "loss", "train_loss", "updates"}
    steps = 2 * 4  # ten batches an epoch, three to a step
    assert [push_id for push_id, _ in store.pushes] == [PushId("trial-0", number, 1) for number in range(steps)]
    assert result.metrics["updates"] == steps
    assert result.checkpoint is None, "what it learnt is in the store"
    assert not list(tmp_path.rglob("checkpoint*"))


def test_a_trial_of_no_epochs_changes_nothing() -> None:
    store = Watched(MemoryStore(SGD(0.05)))
    there = workshop(store)
    trained = run(there, trial(0))
    run(there, trial(1, epochs=0))  # which creates what only its child uses
    before, version = everything(store), store.pull([]).version
    again = [run(there, replace(trial(number, epochs=0), id=9)) for number in (0, 1, 1)]
    assert same(everything(store), before)
    assert store.pull([]).version == version
    assert again[0].metrics["accuracy"] == trained.metrics["accuracy"]
    assert again[1].metrics == again[2].metrics
    assert (again[1].outcome, again[1].epochs) == (Outcome.COMPLETED, 0)
    assert "train_loss" not in again[1].metrics


def test_a_trial_that_is_issued_again_goes_on_where_it_was(tmp_path: Path) -> None:
    """Its pushes count once, and the weights are what they would have been without the death of the worker."""
    straight, broken = MemoryStore(SGD(0.05)), MemoryStore(SGD(0.05))
    expected = run(workshop(straight), trial(0, epochs=2))
    failed = run(workshop(Watched(broken, last=5)), trial(0, epochs=2))
    assert (failed.outcome, failed.error) == (Outcome.FAILED, "the worker dies here")
    after = Watched(broken)
    result = run(workshop(after), Attempt(trial(0, epochs=2), 2))
    assert [push_id.number for push_id, _ in after.pushes] == [5, 6, 7]
    assert same(everything(broken), everything(straight))
    assert result.metrics["accuracy"] == expected.metrics["accuracy"]
    assert result.metrics["updates"] == expected.metrics["updates"] == 8


def test_an_attempt_that_was_replaced_is_stopped() -> None:
    store = MemoryStore(SGD(0.05))
    assert store.join("trial-0", 3) == 0
    result = run(workshop(store), Attempt(trial(0), 2))
    assert result.outcome is Outcome.FAILED
    assert store.pull([]).version == (0,)


def test_what_continues_a_parent_trains_only_what_is_new() -> None:
    store = Watched(MemoryStore(SGD(0.05)))
    there = workshop(store, children=5)
    parent = Attempt(replace(trial(0), horizon=3))
    run(there, parent)
    result = run(there, Attempt(replace(trial(0, epochs=3), id=1, parent=0), parent=parent))
    assert result.epochs == 2
    assert [push_id for push_id, _ in store.pushes[2:]] == [PushId("trial-1", number, 1) for number in range(4)]


def test_children_are_drawn_anew_for_every_step_of_every_trial() -> None:
    store = Watched(MemoryStore(SGD(0.05)))
    there = workshop(store, children=2)
    run(there, trial(0))
    run(there, replace(trial(0), id=1))
    used = [frozenset(gradients) for gradients in store.gradients]
    assert len(used) == 10
    assert len(set(used)) > 5
    assert used[:5] != used[5:]


def test_one_child_pulls_and_trains_only_its_own_tensors() -> None:
    inner = MemoryStore(SGD(0.05))
    run(workshop(inner), trial(1))
    others = frozenset(inner.pull().tensors)
    store = Watched(inner)
    run(workshop(store, children=1), trial(0))
    (own,) = {frozenset(gradients) for gradients in store.gradients}
    assert set(store.pulled) == {own}
    assert others - own
    assert len(store.pushes) == BATCHES


def test_scores_do_not_depend_on_what_a_worker_did_before() -> None:
    """No running statistic, no generator's state, no cache of a worker gets into a score."""
    store = MemoryStore(SGD(0.05))
    first = workshop(store)
    run(first, trial(0))
    run(first, trial(1))
    kept = run(first, replace(trial(2, epochs=0), id=7)).metrics
    assert run(workshop(store), replace(trial(2, epochs=0), id=7)).metrics == kept


def test_sharing_learns() -> None:
    """A candidate that was never trained itself is far above chance with the weights that others trained."""
    options = {"dataset": "digits", "batch_size": 32, "weight_decay": 0.0, "schedule": "constant"}
    space: dict[str, Any] = {
        "cells": 1,
        "filters": 8,
        "blocks": 1,
        "operations": ["separable_3x3", "dilated_3x3", "identity"],
    }
    task = Spec("image_classification", options)
    there = Workshop(Setup("s", task, Spec("pnas", space), sharing=Sharing("", 2)), MemoryStore(SGD(0.5)))
    generator = Random(5)
    drawn = list(dict.fromkeys(PnasSpace(**space).decisions.sample(generator) for _ in range(20)))
    for number in range(6):
        run(there, Trial(number, drawn[number], shared=True))
    scores = [run(there, Trial(9, one, 0, 1, shared=True)).metrics["accuracy"] for one in drawn[6:9]]
    assert np.mean(scores) > 0.5, scores  # chance is 0.1


def test_a_recipe_that_is_left_open_cannot_be_shared() -> None:
    task = ImageClassification(learning_rate={"range": [0.01, 0.1]})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="learning_rate is left to the search"):
        task.sharing_policy()
