from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_space import TinyNet, TinySpace
from torch import Tensor, nn

from search_spaces.decisions import Candidate
from workers.checkpoint import load, save, weights
from workers.errors import DivergedError, UserError
from workers.lineage import network_of
from workers.recipe import OPTIMIZERS
from workers.task import Epoch, State
from workers.tasks.image_classification import ImageClassification
from workers.trial import Trial

CANDIDATE = Candidate({"filters": 4})
EVERYTHING: dict[str, Any] = {
    "dropout": 0.2,
    "label_smoothing": 0.1,
    "l1": 1e-4,
    "flip": True,
    "crop": 1,
    "cutout": 2,
    "train_examples": 96,
    "validation_examples": 50,
    "batch_size": 40,
}
SPACE = TinySpace(drop_path=0.3, auxiliary=True)


def network(task: ImageClassification, seed: int = 0) -> TinyNet:
    torch.manual_seed(seed)
    built = network_of(SPACE, task, CANDIDATE)
    assert isinstance(built, TinyNet)
    return built


def train(task: ImageClassification, epochs: int, state: State | None = None, **trial: Any) -> list[Epoch]:
    model = network(task, seed=0 if state is None else 99)
    return list(task.train(model, Trial(1, CANDIDATE, epochs=epochs, horizon=4, **trial), state))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_exactly_from_a_checkpoint(optimizer: str) -> None:
    """With everything random switched on, and torch's global generator spoilt in between."""
    task = ImageClassification(optimizer=optimizer, learning_rate=0.01, **EVERYTHING)
    straight = train(task, 4, seed=3)
    half = train(task, 2, seed=3)
    assert half[-1].state is not None
    torch.manual_seed(12345)
    rest = train(task, 4, load(save(half[-1].state)), seed=3)
    assert [epoch.metrics for epoch in (*half, *rest)] == [epoch.metrics for epoch in straight]
    last, expected = rest[-1].state, straight[-1].state
    assert last is not None
    assert expected is not None
    assert last.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(last.tensors[name], expected.tensors[name]) for name in last.tensors)
    assert (last.epoch, last.record) == (expected.epoch, expected.record)


def test_seeds_matter_and_nothing_else_does() -> None:
    task = ImageClassification(**EVERYTHING)
    first, again, other = train(task, 1, seed=3), train(task, 1, seed=3), train(task, 1, seed=4)
    assert first[0].metrics == again[0].metrics
    assert first[0].metrics != other[0].metrics


def test_a_state_is_not_changed_by_training_on() -> None:
    task = ImageClassification(**EVERYTHING)
    steps = task.train(network(task), Trial(1, CANDIDATE, epochs=2, horizon=2), None)
    state = next(steps).state
    assert state is not None
    before = {name: value.clone() for name, value in state.tensors.items()}
    next(steps)
    assert all(torch.equal(before[name], state.tensors[name]) for name in before)


def small(tmp_path: Path) -> ImageClassification:
    """Thirty images with colours that tell their class, one batch per epoch."""
    generator = np.random.default_rng(0)
    labels = np.arange(50) % 3
    pixels = generator.integers(0, 100, (50, 3, 8, 8), dtype=np.uint8)
    pixels[np.arange(50), labels] += 120
    np.savez(tmp_path / "small.npz", x_train=pixels, y_train=labels)
    return ImageClassification(
        dataset=str(tmp_path / "small.npz"),
        flip=False,
        crop=0,
        batch_size=64,
        learning_rate=0.3,
        schedule="step",
        drops=1,
        label_smoothing=0.2,
        l1=0.01,
        weight_decay=0.02,
        gradient_clipping=0.5,
        auxiliary=0.7,
        channels_last=False,
    )


def smoothed(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Szegedy et al. 2016: the target is mixed with the uniform distribution."""
    logs = logits - logits.exp().sum(1, keepdim=True).log()
    target = nn.functional.one_hot(labels, logits.shape[1]) * (1 - smoothing) + smoothing / logits.shape[1]
    return -(target * logs).sum(1).mean()


def test_two_epochs_equal_the_recipe_written_out(tmp_path: Path) -> None:
    task = small(tmp_path)
    arguments = TinySpace(auxiliary=True).blueprint(CANDIDATE, task.signature).arguments
    model, expected = TinyNet(**arguments), TinyNet(**arguments)
    expected.load_state_dict(model.state_dict())
    epochs = list(task.train(model, Trial(1, CANDIDATE, epochs=2, horizon=2), None))

    part = task.images.train
    pixels = torch.from_numpy(part.pixels[part.rows] / 255)
    images = (
        (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.std((0, 2, 3), correction=0, keepdim=True)
    ).float()
    labels = torch.from_numpy(part.labels[part.rows])
    velocity: dict[str, Tensor] = {}
    for epoch, rate in zip(epochs, (0.3, 0.03), strict=True):
        expected.train().zero_grad()
        loss = smoothed(expected(images), labels, 0.2)
        assert expected.auxiliary_logits is not None
        loss = loss + 0.7 * smoothed(expected.auxiliary_logits, labels, 0.2)
        assert epoch.metrics["train_loss"] == pytest.approx(loss.item(), rel=1e-4)
        torch.autograd.backward(loss + 0.01 * sum(p.abs().sum() for p in expected.parameters()))
        gradients = {name: p.grad for name, p in expected.named_parameters() if p.grad is not None}
        norm = float(sum((g**2).sum() for g in gradients.values())) ** 0.5
        with torch.no_grad():
            for name, weight in expected.named_parameters():
                gradient = gradients[name] * min(1.0, 0.5 / norm) + 0.02 * weight
                velocity[name] = 0.9 * velocity[name] + gradient if name in velocity else gradient
                weight.sub_(rate * (gradient + 0.9 * velocity[name]))
        assert epoch.state is not None
        for name, value in weights(epoch.state).items():
            torch.testing.assert_close(value, expected.state_dict()[name], rtol=1e-3, atol=1e-5)


def test_validation_metrics_are_the_models_own(tmp_path: Path) -> None:
    task = small(tmp_path)
    model = network(task)
    *_, last = task.train(model, Trial(1, CANDIDATE, epochs=3, horizon=3), None)
    data = task.images
    part = data.validation
    pixels = torch.from_numpy(part.pixels[part.rows] / 255)
    mean, std = torch.tensor(data.mean).view(1, -1, 1, 1), torch.tensor(data.std).view(1, -1, 1, 1)
    labels = torch.from_numpy(part.labels[part.rows])
    with torch.no_grad():
        logits = model.eval()(((pixels - mean) / std).float())
    assert last.metrics["accuracy"] == (logits.argmax(1) == labels).double().mean().item()
    assert last.metrics["loss"] == pytest.approx(smoothed(logits, labels, 0.0).item(), rel=1e-5)


def test_it_learns(tmp_path: Path) -> None:
    task = small(tmp_path)
    *_, last = task.train(network(task), Trial(1, CANDIDATE, epochs=20, horizon=20), None)
    assert last.metrics["accuracy"] == 1.0


def test_a_full_evaluation_reads_the_state_and_yields_once() -> None:
    task = ImageClassification(**EVERYTHING)
    *_, last = train(task, 2)
    (again,) = train(task, 0, last.state)
    assert {name: again.metrics[name] for name in ("accuracy", "loss")} == {
        name: last.metrics[name] for name in ("accuracy", "loss")
    }
    assert again.state is None
    (untrained,) = train(task, 0)
    assert untrained.metrics["accuracy"] < last.metrics["accuracy"] or untrained.metrics["loss"] > last.metrics["loss"]


def test_the_test_set_gives_counts_and_proof() -> None:
    task = ImageClassification(**EVERYTHING)
    *_, trained = train(task, 2)
    (tested,) = train(task, 0, trained.state, split="test")
    assert set(tested.metrics) == {"test_accuracy", "test_loss", "test_correct", "test_total"}
    assert tested.metrics["test_total"] == len(task.images.test) == 359
    assert tested.metrics["test_accuracy"] == tested.metrics["test_correct"] / 359
    assert trained.state is not None
    fresh = TinyNet(**SPACE.blueprint(CANDIDATE, task.signature).arguments)
    fresh.load_state_dict(weights(trained.state))
    with torch.no_grad():
        logits = fresh.eval()(tested.examples["input/image"])
    assert logits.shape == (8, 10)
    torch.testing.assert_close(logits, tested.examples["output/logits"])
    pixels = torch.from_numpy(task.images.test.pixels[task.images.test.rows[:8]] / 255)
    normal = ((pixels - task.preprocessing.mean[0]) / task.preprocessing.std[0]).float()
    torch.testing.assert_close(tested.examples["input/image"], normal, rtol=1e-4, atol=1e-5)


def test_the_test_set_is_read_once_when_training_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    task = ImageClassification(**EVERYTHING)
    epochs = train(task, 3, split="test")
    assert ["test_accuracy" in epoch.metrics for epoch in epochs] == [False, False, True]


def test_what_is_deployed_is_the_network_with_two_images() -> None:
    task = ImageClassification(activation="silu", **EVERYTHING)
    model = network(task)
    deployed = task.deployable(model, CANDIDATE)["model"]
    module, inputs = deployed.module, deployed.examples
    assert any(isinstance(one, nn.SiLU) for one in module.modules())
    assert not any(isinstance(one, nn.ReLU) for one in module.modules())
    assert [one.shape for one in inputs] == [(2, 1, 8, 8)]
    assert not module.training
    assert module(*inputs).shape == (2, 10)


def test_divergence_is_told_in_one_line() -> None:
    task = ImageClassification(learning_rate=900.0, gradient_clipping=0.0, optimizer="sgd")
    with pytest.raises(DivergedError, match=r"training loss became (nan|inf) in epoch \d: a lower learning rate"):
        train(task, 4)


def test_progress_reaches_drop_path() -> None:
    seen: list[float] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Linear(64, 10)

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "progress":
                seen.append(value)
            super().__setattr__(name, value)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.classifier(images.flatten(1))
            return logits

    model = Watched()
    model.progress = 0.0
    task = ImageClassification(train_examples=100, batch_size=50)
    list(task.train(model, Trial(1, CANDIDATE, epochs=2, horizon=4), None))
    assert seen == [0.0, 0.0, 0.125, 0.25, 0.375]


def test_dropout_acts_before_the_classifier_and_only_in_training() -> None:
    zeros: list[float] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.classifier = nn.Linear(64, 400), nn.Linear(400, 10)
            self.classifier.register_forward_hook(
                lambda module, inputs, answer: zeros.append(float((inputs[0] == 0).double().mean()))
            )

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.classifier(self.first(images.flatten(1)))
            return logits

    task = ImageClassification(train_examples=200, batch_size=200, dropout=0.4)
    list(task.train(Watched(), Trial(1, CANDIDATE, epochs=1, horizon=1), None))
    assert zeros[0] == pytest.approx(0.4, abs=0.02)
    assert set(zeros[1:]) == {0.0}


def test_bf16_where_it_is_asked_for() -> None:
    kinds: set[torch.dtype] = set()

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.classifier(images.flatten(1))
            kinds.add(logits.dtype)
            return logits

    for asked, found in ((True, torch.bfloat16), (False, torch.float32), ("auto", torch.float32)):
        kinds.clear()
        task = ImageClassification(train_examples=50, bf16=asked, device="cpu")
        (epoch,) = task.train(Watched(), Trial(1, CANDIDATE), None)
        assert kinds == {found}
        assert epoch.state is not None
        assert {value.dtype for value in weights(epoch.state).values()} == {torch.float32}


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device is 'cuda:1', but torch sees no GPU"):
        train(ImageClassification(device="cuda:1"), 1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
