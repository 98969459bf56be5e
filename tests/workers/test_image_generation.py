"""The task image_generation: what its course does to both networks, keeps, shows, and when it gives up."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from search_spaces.decision import Choice, DecisionError
from search_spaces.decisions import Candidate
from search_spaces.gan.objectives import ENERGIES, SCORES
from workers import checkpoint
from workers.errors import UserError
from workers.generation import collapse
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.setup import Setup
from workers.trial import Attempt, Trial
from workers.workshop import Workshop

sys.path.insert(0, str(Path(__file__).parent))  # where `generating` is
from generating import CANDIDATE, SMALL, pair, task_of, train
from tiny_gan import TinyGan


@pytest.mark.parametrize("objective", [*SCORES, *ENERGIES])
def test_every_objective_trains_both_networks_and_goes_on_bit_for_bit(objective: str) -> None:
    task = task_of(
        objective=objective,
        critic_steps=2,
        replay=0.5,
        replay_size=30,
        label_noise=0.1,
        instance_noise=0.1,
        averaging=0.9,
    )
    first = train(task, Trial(1, CANDIDATE, epochs=1, horizon=3))[-1]
    assert first.state is not None
    kept = checkpoint.load(checkpoint.save(first.state))
    through = train(task, Trial(1, CANDIDATE, epochs=3, horizon=3))[-1]
    parted = train(task, Trial(1, CANDIDATE, epochs=3, horizon=3), kept)[-1]
    assert through.state is not None
    assert parted.state is not None
    assert dict(through.metrics) == dict(parted.metrics)
    assert through.state.record == parted.state.record
    assert set(through.state.tensors) == set(parted.state.tensors)
    for name, value in through.state.tensors.items():
        assert torch.equal(value, parted.state.tensors[name]), name
    for part in ("generator/hidden.0.weight", "model/discriminator.code.weight", "model/generator.image.weight"):
        assert not torch.equal(through.state.tensors[part], first.state.tensors[part]), part
    assert {"fid", "fid_real", "fid_noise", "inception_score", "precision", "recall"} <= set(through.metrics)


def test_conditional_ones_go_on_bit_for_bit() -> None:
    task = task_of(
        conditional=True, replay=0.5, replay_size=30, distribution="uniform", objective="wasserstein_penalty"
    )
    assert task.signature.vocabularies == {"label": 10}
    first = train(task, Trial(1, CANDIDATE, epochs=1, horizon=2))[-1]
    through = train(task, Trial(1, CANDIDATE, epochs=2, horizon=2))[-1]
    parted = train(task, Trial(1, CANDIDATE, epochs=2, horizon=2), first.state)[-1]
    assert dict(through.metrics) == dict(parted.metrics)
    assert not {"arithmetic.png"} & set(through.exhibits)


def test_a_generator_that_hears_no_noise_ends_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapse, "TRAINED", 300)
    options = {**SMALL, "batch_size": 2, "evaluated": 20}  # 30 steps an epoch
    setup = Setup("g", Spec("image_generation", options), Spec("tiny_gan:TinyGan", {"deaf": True}))
    told: list[int] = []
    trial = Trial(1, Candidate({"deaf": True, "objective": "non_saturating"}), epochs=40, horizon=40)
    result = Workshop(setup).run(Attempt(trial), lambda progress: told.append(progress.epoch))
    assert result.outcome is Outcome.FAILED
    assert "nearly the same image whatever goes in: their variance is 0.00%" in str(result.error)
    assert told[-1] == 300 // 30 + collapse.PATIENCE - 2


def test_a_divergence_ends_the_trial() -> None:
    setup = Setup(
        "g", Spec("image_generation", {**SMALL, "learning_rate": 1e3, "objective": "kl"}), Spec("tiny_gan:TinyGan")
    )
    trial = Trial(1, Candidate({"deaf": False, "objective": "kl"}), epochs=9, horizon=9)
    result = Workshop(setup).run(Attempt(trial), lambda progress: None)
    assert result.outcome is Outcome.FAILED
    assert "loss became" in str(result.error)


def test_an_objective_that_does_not_fit_the_discriminator_is_refused() -> None:
    task = task_of(objective="energy_based")
    network = TinyGan().build(CANDIDATE, task.signature)
    with pytest.raises(UserError, match="needs a discriminator that is an auto-encoder, but this one gives scores"):
        next(task.train(network, Trial(1, CANDIDATE), None))
    with pytest.raises(UserError, match="has no generator: choose another"):
        next(task_of().train(torch.nn.Linear(2, 2), Trial(1, CANDIDATE), None))


def test_what_is_shown() -> None:
    task = task_of(dataset="digits")
    epochs = train(task, Trial(1, CANDIDATE, epochs=2, horizon=2))
    assert set(epochs[0].exhibits) == {"samples.png"}
    shown = epochs[1].exhibits
    assert {"samples.png", "neighbours.png", "interpolation.png", "modes.txt"} <= set(shown)
    assert max(map(len, shown.values())) < 200_000
    for name, content in shown.items():
        if name.endswith(".png"):
            assert min(Image.open(io.BytesIO(content)).size) > 8
    lines = shown["modes.txt"].decode().splitlines()
    assert lines[0].startswith(f"FID {epochs[1].metrics['fid']:.2f} (real against real ")
    assert "a classifier trained on the same data; 50 generated images" in lines[1]
    assert len(lines) == 4 + 10
    assert sum("missing" in line for line in lines) >= 1  # after six steps


def test_noise_of_samples_stays_the_same() -> None:
    first, again = (train(task_of(learning_rate=1e-9), Trial(1, CANDIDATE, epochs=n, horizon=2))[-1] for n in (1, 2))
    one, other = (Image.open(io.BytesIO(epoch.exhibits["samples.png"])) for epoch in (first, again))
    assert one.size == other.size
    apart = sum(abs(a - b) > 24 for a, b in zip(one.tobytes(), other.tobytes(), strict=True))
    assert apart < 0.02 * len(one.tobytes())  # only statistics of batches have moved


@pytest.mark.parametrize("conditional", [False, True])
def test_examples_are_those_of_the_deployed_generator(conditional: bool) -> None:
    task = task_of(conditional=conditional, averaging=0.5)
    epoch = train(task, Trial(1, CANDIDATE, epochs=1, split="test"))[-1]
    assert {"test_fid", "test_fid_real"} <= set(epoch.metrics)
    assert epoch.state is not None
    network = pair(task)
    network.load_state_dict(checkpoint.weights(epoch.state))
    deployed = task.deployable(network, CANDIDATE)["model"]
    inputs = [epoch.examples[f"input/{name}"] for name in deployed.inputs]
    torch.testing.assert_close(deployed.module(*inputs), epoch.examples["output/image"])
    blueprint, prefix = task.part(TinyGan().blueprint(CANDIDATE, task.signature))
    alone = blueprint.build()
    weights: Mapping[str, Tensor] = checkpoint.weights(epoch.state)
    alone.load_state_dict({n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)})
    torch.testing.assert_close(alone.eval()(*inputs), epoch.examples["output/image"])


def test_figures_are_named_with_the_features_that_they_are_by() -> None:
    assert "by the features of a classifier trained on the same data." in task_of().measured
    assert "by the features of torchvision's Inception v3." in task_of(features="inception").measured


def test_the_objective_is_always_a_decision() -> None:
    assert task_of(objective="hinge").decisions["objective"] == Choice(("hinge",))
    opened = task_of(
        objective={"choice": ["hinge", "wasserstein_penalty"]},
        penalty={"range": [1, 20], "when": {"objective": "wasserstein_penalty"}},
    )
    assert list(opened.decisions) == ["objective", "penalty"]
    closed = opened.closed(Candidate({"objective": "wasserstein_penalty", "penalty": 3.0}))
    assert (closed.objective, closed.penalty) == ("wasserstein_penalty", 3.0)
    assert json.loads(json.dumps({**opened.closed(Candidate({"objective": "hinge"})).located()})) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "vanishing"}, "objective is 'vanishing', but must be one of"),
        ({"features": "vgg"}, "features is 'vgg', but must be classifier or inception"),
        ({"distribution": "cauchy"}, "must be normal or uniform"),
        ({"noise": 0}, "at least 1 and 10"),
        ({"replay": 1.5}, "replay is 1.5"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, DecisionError), match=message):
        task_of(**options)
