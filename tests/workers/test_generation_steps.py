"""The steps of two networks against each other: how often, at what rate, on which images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from workers.errors import UserError
from workers.generation import collapse
from workers.generation.adversarial import Judge
from workers.generation.course import AdversarialCourse
from workers.generation.energies import squared_errors
from workers.generation.replay import Replay
from workers.trial import Trial

sys.path.insert(0, str(Path(__file__).parent))  # where `generating` is
from generating import CANDIDATE, course, pair, task_of


def test_the_critic_steps_so_often_for_each_step_of_the_generator() -> None:
    task = task_of(critic_steps=2)
    made = course(task)
    counts = {"discriminator": 0, "generator": 0}

    def counted(name: str) -> Any:
        step = getattr(made.pair, f"step_{name}")

        def once(loss: Tensor) -> None:
            counts[name] += 1
            step(loss)

        return once

    for name in counts:
        setattr(made.pair, f"step_{name}", counted(name))
    for number in range(2):
        made.epoch(number)
    assert made.steps == 3
    assert counts == {"discriminator": 6, "generator": 3}


def test_each_step_moves_one_network_at_its_own_rate() -> None:
    task = task_of(discriminator_rate=3.0, learning_rate=0.01, beta1=0.2, schedule="cosine")
    made = course(task)
    made.pair.pace(0.5)
    groups = [chosen.param_groups[0] for chosen in (made.pair.steps_generator, made.pair.steps_discriminator)]
    assert [group["lr"] for group in groups] == pytest.approx([0.005, 0.015])
    assert [group["betas"] for group in groups] == [(0.2, 0.999)] * 2
    before = {name: value.clone() for name, value in made.pair.model.state_dict().items()}
    loss = made.pair.discriminator(torch.rand(4, 1, 8, 8)).sum()
    made.pair.step_discriminator(loss)
    changed = {
        name.partition(".")[0] for name, value in made.pair.model.state_dict().items() if (value != before[name]).any()
    }
    assert changed == {"discriminator"}
    with made.pair.only_generator():
        judged = made.pair.discriminator(made.pair.generator(torch.randn(4, 8))).sum()
        made.pair.discriminator.zero_grad()
        made.pair.step_generator(judged)
    assert all(weight.grad is None for weight in made.pair.discriminator.parameters())
    assert all(weight.requires_grad for weight in made.pair.discriminator.parameters())


def test_the_average_follows_and_is_what_is_handed_over() -> None:
    task = task_of(averaging=0.75)
    made = course(task)
    assert made.pair.averaged is not None
    before = made.pair.averaged.network.get_parameter("image.weight").detach().clone()
    made.pair.step_generator(made.pair.generator(torch.randn(4, 8)).sum())
    now = made.pair.generator.get_parameter("image.weight").detach()
    expected = 0.75 * before + 0.25 * now
    torch.testing.assert_close(made.pair.averaged.network.get_parameter("image.weight").detach(), expected)
    torch.testing.assert_close(made.tensors()["model/generator.image.weight"], expected)
    torch.testing.assert_close(made.tensors()["generator/image.weight"], now)
    assert made.pair.deployed is made.pair.averaged.network


def test_noisy_labels_exchange_pairs_and_noise_fades() -> None:
    made = course(task_of(label_noise=0.3, instance_noise=0.5))
    real, fake = torch.ones(2000, 1, 2, 2), torch.zeros(2000, 1, 2, 2)
    one, other = made._exchanged(real, fake, torch.Generator().manual_seed(0))
    torch.testing.assert_close(one + other, real)
    assert float(other.mean()) == pytest.approx(0.3, abs=0.04)
    assert torch.equal(one.flatten(1).var(1), torch.zeros(2000))
    for place, deviation in ((0.0, 0.5), (0.5, 0.25)):
        noise = made._noised(real, place, torch.Generator().manual_seed(0)) - real
        assert float(noise.std()) == pytest.approx(deviation, rel=0.03)
    assert made._noised(real, 1.0, torch.Generator()) is real


def test_old_images_come_back_each_once_and_in_their_class() -> None:
    replay, generator = Replay(0.5, 6), torch.Generator().manual_seed(0)

    def batch(first: int) -> tuple[Tensor, Tensor]:
        numbers = torch.arange(first, first + 4)
        return numbers.view(-1, 1, 1, 1).float(), numbers % 2

    for first in (0, 4):
        images, labels = batch(first)
        assert torch.equal(replay.mixed(images, labels, generator), images)  # not full yet
    known = {0, 1, 2, 3, 4, 5}
    for first in (10, 20, 30):
        images, labels = batch(first)
        mixed = replay.mixed(images, labels, generator).flatten().int().tolist()
        assert mixed[:2] == [first, first + 1]
        assert len({*mixed}) == 4
        assert {*mixed[2:]} <= known
        assert [number % 2 for number in mixed] == labels.tolist()
        known = (known - {*mixed[2:]}) | {first + 2, first + 3}
        assert replay.images is not None
        assert {*replay.images.flatten().int().tolist()} == known
    never = Replay(0.0, 6)
    assert never.mixed(images, None, generator) is images
    assert not never.tensors()


def test_a_generator_of_one_class_is_noticed_late_and_only_if_it_stays_so() -> None:
    one, well = collapse.Look(0.5, "7", 1.0, 0.1), collapse.Look(0.5, "7", 0.4, 0.1)
    watch = collapse.Watch()
    for look in (one, well, one):
        watch.tell(look, collapse.TRAINED)
    watch.tell(one, collapse.TRAINED - 1)
    watch.tell(one, collapse.TRAINED)
    with pytest.raises(collapse.CollapsedError, match="100% of them are taken for '7'"):
        collapse.Watch(seen=int(watch.record()["collapsed"])).tell(one, collapse.TRAINED)
    assert collapse.Look(0.5, "7", 1.0, 1.0).collapsed(10**6, 1.0) is None  # of data of one class


def test_an_heir_begins_as_it_was_left() -> None:
    task = task_of(initialiser="orthogonal")
    network = pair(task)
    before = network.generator.get_parameter("image.weight").detach().clone()
    AdversarialCourse(task, network, task._evaluation(), Trial(1, CANDIDATE, 1, 1, parent=0, heir=True), None)
    assert torch.equal(network.generator.get_parameter("image.weight"), before)
    AdversarialCourse(task, network, task._evaluation(), Trial(1, CANDIDATE, 1, 1), None)
    assert not torch.equal(network.generator.get_parameter("image.weight"), before)


def test_margin_adaptive_begins_with_the_real_images_alone() -> None:
    made = course(task_of(objective="margin_adaptive"))
    weight, image = (made.pair.model.get_parameter(f"{n}.weight") for n in ("discriminator.code", "generator.image"))
    before, still = weight.detach().clone(), image.detach().clone()
    seen: list[float] = []
    begin = made.loss.begin

    def watched(pretrained: float) -> None:
        seen.append(pretrained)
        begin(pretrained)
        assert not torch.equal(weight, before)
        assert torch.equal(image, still)
        energies = squared_errors(Judge(made.pair.discriminator, None), made.light.take(torch.arange(60)) * 2 - 1)
        assert pretrained == pytest.approx(energies.mean().item(), rel=0.1)  # dropout draws anew

    made.loss.begin = watched  # type: ignore[method-assign]
    for number in range(2):
        made.epoch(number)
    assert len(seen) == 1


def test_images_that_grow_alike_are_noticed_at_once_and_a_blank_beginning_is_not() -> None:
    blank, varied = (collapse.Look(variety, "7", 0.4, 0.1) for variety in (0.001, 0.3))
    watch = collapse.Watch()
    for steps in range(5):
        watch.tell(blank, steps)
    for look in (varied, blank):
        watch.tell(look, 100)
    again = collapse.Watch(int(watch.record()["collapsed"]), watch.record()["variety"])
    with pytest.raises(collapse.CollapsedError, match="variance is 0"):
        again.tell(blank, 200)


def test_an_average_that_lags_behind_is_no_collapse() -> None:
    made = course(task_of(averaging=0.9999))
    assert made.pair.averaged is not None
    with torch.no_grad():
        for weight in made.pair.averaged.network.parameters():
            weight.zero_()
    assert made.epoch(0)["variety"] > collapse.ALIKE


def test_a_part_without_a_covariance_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="the validation part has 1 image, but FID needs at least 2: set larger shares"):
        task_of(validation_examples=1).prepare()
