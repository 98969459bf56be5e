"""A generator that gives the same image whatever goes in ends its trial."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.gan.image_translation import ImageTranslationSpace
from workers.course import follow
from workers.generation import collapse
from workers.generation.collapse import CollapsedError
from workers.task import State
from workers.tasks.image_translation import ImageTranslation
from workers.translation.methods import Sides
from workers.translation.translating import Translating
from workers.trial import Trial

FEW: dict[str, Any] = {"train_examples": 40, "validation_examples": 30, "batch_size": 10}
SPACE = ImageTranslationSpace(("unet",), blocks=(1,), widths=(4,), discriminator_widths=(4,), norms=("batch",))


class Deaf(nn.Module):
    """One image, learned, for whatever goes in."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.zeros(1, 1, 8, 8))

    def forward(self, image: Tensor, domain: Tensor | None = None) -> Tensor:
        return self.image.tanh().expand(len(image), -1, -1, -1)


def course(deaf: bool, epochs: int = 3, state: State | None = None, **options: Any) -> tuple[Translating, Trial]:
    task = ImageTranslation(**{**FEW, **options})
    candidate = (SPACE.decisions | task.decisions).sample(Random(0))
    torch.manual_seed(0)
    model = SPACE.build(candidate, task.signature)
    if deaf:
        model.generator = Deaf()
    trial = Trial(1, candidate, epochs)
    return Translating(task, model, trial, torch.device("cpu"), state), trial


@pytest.mark.parametrize("method", ["pix2pix", "stargan"])
def test_a_generator_that_hears_nothing_ends_the_trial_in_its_second_epoch(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "TRAINED", 1)
    steps = follow(*course(deaf=True, method=method, critic_steps=1), None)
    assert next(steps).metrics["variety"] == pytest.approx(0, abs=1e-9)
    with pytest.raises(CollapsedError, match=r"nearly the same image whatever goes in: .* is 0\.00%"):
        next(steps)


def test_what_was_seen_is_carried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapse, "TRAINED", 1)
    first = next(follow(*course(deaf=True), None))
    assert first.state is not None
    later, trial = course(deaf=True, state=first.state)
    with pytest.raises(CollapsedError):
        next(follow(later, trial, first.state))


def test_a_beginning_may_be_blank_and_a_usual_training_leaves_it() -> None:
    assert len(list(follow(*course(deaf=True), None))) == 3
    *_, last = follow(*course(deaf=False, learning_rate=0.01, train_examples=200), None)
    assert last.metrics["variety"] > 10 * collapse.ALIKE


def test_variety_is_the_share_of_the_truth_s_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(self: Translating, model: nn.Module, sides: Sides) -> Tensor:
        return sides.target / 2 + 0.3

    monkeypatch.setattr(Translating, "made", halved)
    assert course(deaf=False)[0].look().variety == pytest.approx(0.25)
    assert course(deaf=False, method="stargan")[0].look().variety == pytest.approx(0.25)
