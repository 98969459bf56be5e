"""Batches of an image classifier: every image once an epoch, parts that add up to a step, settled statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces.decision import Range
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError
from workers.image_batches import ImageBatches
from workers.tasks.function import Function
from workers.tasks.image_classification import ImageClassification
from workers.trial import Trial

PLAIN: Mapping[str, Any] = {"dataset": "digits", "gradient_clipping": 0.0, "batch_size": 100}


def network(norm: bool = False) -> nn.Module:
    torch.manual_seed(1)
    middle = nn.BatchNorm1d(16) if norm else nn.Identity()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), middle, nn.ReLU(), nn.Linear(16, 10))


def batches(model: nn.Module, parts: int = 1, epochs: int = 2, **options: Any) -> ImageBatches:
    task = ImageClassification(**{**PLAIN, **options})
    found = task.batches(model, Trial(0, Candidate({}), epochs, epochs, seed=3), parts=parts)
    assert isinstance(found, ImageBatches)
    return found


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    found = batches(network(), parts=3)
    epochs: list[list[int]] = [[], []]
    for number in range(found.count):
        epochs[number // found.per_epoch] += found._places(number).tolist()
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(len(found.data)))
    assert epochs[0] != epochs[1]
    assert sum(found.examples(number) for number in range(found.count)) == 2 * len(found.data)


def test_the_weighted_mean_over_the_parts_of_a_step_is_the_gradient_of_the_step() -> None:
    whole, parted = network(), network()
    one, three = batches(whole), batches(parted, parts=3)
    for step in (0, 5, one.count - 1):
        one.learn(step)
        sums = [torch.zeros_like(weight) for weight in parted.parameters()]
        for number in range(3 * step, 3 * step + 3):
            three.learn(number)
            for total, gradient in zip(sums, gradients(parted), strict=True):
                total += gradient * three.share(number) / 3
        assert one.place(step) == three.place(3 * step) == three.place(3 * step + 2)
        for right, total in zip(gradients(whole), sums, strict=True):
            torch.testing.assert_close(total, right, rtol=1e-5, atol=1e-7)


def test_a_batch_is_the_same_whatever_was_learned_before() -> None:
    model = network(norm=True)
    found = batches(model, flip=True, crop=1, cutout=2, dropout=0.5)
    found.learn(7)
    first = gradients(model)
    found.learn(20)
    found.learn(3)
    found.learn(7)
    assert all(torch.equal(one, other) for one, other in zip(first, gradients(model), strict=True))


def test_settled_statistics_are_those_of_the_training_images() -> None:
    model = network(norm=True)
    found = batches(model)
    found.learn(0)
    found.settle()
    assert isinstance(model, nn.Sequential)
    images = found.data.normalised(found.data.take(torch.arange(len(found.data)))[0])
    hidden, middle = model[1](images.flatten(1)), model[2]
    assert isinstance(middle.running_mean, torch.Tensor)
    torch.testing.assert_close(middle.running_mean, hidden.mean(0), rtol=1e-3, atol=1e-3)
    assert torch.equal(found.state().tensors["model/2.running_mean"], middle.running_mean)


def test_more_workers_than_a_step_has_examples_are_refused() -> None:
    with pytest.raises(UserError, match="too few for 60 workers"):
        batches(network(), parts=60)


def test_a_task_that_trains_in_one_piece_says_so() -> None:
    with pytest.raises(UserError, match="trains in one piece"):
        Function(call=len, decisions=Decisions({"x": Range(0.0, 1.0)})).batches(network(), Trial(0, Candidate({})))
