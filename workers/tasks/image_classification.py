"""Classify images: scikit-learn's digits, torchvision's sets, a folder of images per class, or an .npz file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, final

from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Signature
from workers.errors import UserError
from workers.image_options import ImageOptions
from workers.image_recipe import ImageRecipe
from workers.objectives import Direction, Objective
from workers.task import Deployed, Epoch, State, Task
from workers.trial import Attempt, Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

    from parameter_server.policy import Policy
    from workers.batches import Batches
    from workers.supernet import Supernet
    from workers.training import Training


@final
@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of raw pixels: divided by 255, minus `mean`, over `std`, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]


@final
@dataclass(frozen=True, kw_only=True)
class ImageClassification(ImageOptions, ImageRecipe, Task):
    """Options: those of the recipe, and which images."""

    needs_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_images()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return Objective("accuracy", Direction.MAXIMIZE), Objective("loss", Direction.MINIMIZE)

    @cached_property
    def signature(self) -> Signature:
        """One image of `(channels, height, width)` in, one logit per class out; looks at data of unknown shape."""
        shape, classes = self.source.shape, self.source.classes
        if shape is None or classes is None:
            shape, classes = self.images.shape, len(self.images.classes)
        return Signature("image_classification", {"image": shape}, {"logits": (classes,)})

    @property
    def preprocessing(self) -> Preprocessing:
        """How raw pixels were normalised, by the statistics of the training part."""
        return Preprocessing(self.images.mean, self.images.std, self.images.classes)

    @property
    def examples(self) -> int:
        """How many images an epoch has."""
        return len(self.images.train)

    def adapt(self, blueprint: Blueprint, candidate: Candidate) -> Blueprint:
        return replace(blueprint, activation=self.closed(candidate).activation)

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        """Metrics `accuracy`, `loss` of the validation part; `test_accuracy`, `test_correct`, ... of the test set."""
        if model is None:
            raise UserError(
                "image_classification trains networks of a search space, but the job names none: add `space`"
            )
        yield from self._training(trial).run(model, self.images, state)

    def batches(self, model: nn.Module, trial: Trial, state: State | None = None, parts: int = 1) -> Batches:
        from workers.image_batches import ImageBatches

        return ImageBatches(self._training(trial), model, self.images, state, parts)

    def sharing_policy(self) -> Policy:
        from workers.sharing_policy import sharing_policy

        if len(self.decisions):
            raise UserError(
                f"{next(iter(self.decisions))} is left to the search, but children that share weights share their "
                "recipe: give it one value, or set weights: own"
            )
        return sharing_policy(self)

    def train_shared(self, attempt: Attempt, supernet: Supernet) -> Iterator[Epoch]:
        """Metrics as those of `train`, and `updates`: how often the shared weights had been stepped."""
        from workers.shared_training import SharedTraining

        begun = replace(self, initialiser="default")  # the supernet's tensors have first values of their own
        yield from SharedTraining(begun._training(attempt.trial), self.images, supernet).run(attempt)

    def _training(self, trial: Trial) -> Training:
        from workers.training import Device, Training

        recipe = self.closed(trial.candidate)
        return Training(recipe, self.source.habits, Device.of(self.device, recipe), trial)

    def minibatch(self, size: int, seed: int) -> tuple[torch.Tensor, ...]:
        from workers.training import some_images

        return (some_images(self.images, size, seed),)

    def deployable(self, model: nn.Module, candidate: Candidate) -> Mapping[str, Deployed]:
        """The network itself, in evaluation mode, with two normalised test images."""
        from workers.training import first_images

        return {"model": Deployed(model.eval(), (first_images(self.images, 2),), ("image",), ("logits",))}
