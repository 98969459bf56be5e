"""Classify images: scikit-learn's digits, torchvision's sets, a folder of images per class, or an .npz file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Signature
from workers.datasets import source_of
from workers.errors import UserError
from workers.image_data import Division, ImageData, cache_folder, load
from workers.image_files import Archive, Folder
from workers.image_recipe import ImageRecipe
from workers.image_source import Source
from workers.objectives import Direction, Objective
from workers.task import Deployed, Epoch, State, Task
from workers.trial import Attempt, Json, Trial

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
class ImageClassification(ImageRecipe, Task):
    """Options: those of the recipe, and which data.

    `dataset` is `digits`, `mnist`, `fashion_mnist`, `cifar10`, `cifar100`, `svhn`, `folder` or `npz` (both with
    `root`), or the path of a folder or an .npz file. `validation` and `test` are shares set aside (the latter where
    no test set is published), drawn by `split_seed`. `train_examples` and `validation_examples` use only so many, in
    equal shares. `image_size` is the side to which a folder's images are resized. `device` is `auto`, `cpu`, `cuda` or
    `cuda:N`.
    """

    dataset: str = "digits"
    root: str | None = None
    download: bool = True
    image_size: int = 32
    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0
    train_examples: int | None = None
    validation_examples: int | None = None
    epochs: int = 10
    device: str = "auto"

    needs_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("validation", "test"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, but must be a share between 0 and 1, as 0.1")
        for name in ("train_examples", "validation_examples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, but must be at least 1; leave it out to use all")
        if self.epochs < 1 or self.image_size < 4:
            raise UserError(
                f"epochs is {self.epochs} and image_size {self.image_size}, but at least 1 and 4 are needed"
            )
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UserError(f"device is {self.device!r}, but must be auto, cpu, cuda or cuda:N")
        self.source  # noqa: B018 - so that a wrong name is refused at once

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return Objective("accuracy", Direction.MAXIMIZE), Objective("loss", Direction.MINIMIZE)

    @cached_property
    def source(self) -> Source:
        """Where the images come from."""
        root = None if self.root is None else Path(self.root).expanduser()
        return source_of(self.dataset, root, cache_folder() / "downloads", self.image_size, self.download)

    @cached_property
    def images(self) -> ImageData:
        """The data, loaded once per machine and mapped once per process."""
        division = Division(self.split_seed, self.validation, self.test, self.train_examples, self.validation_examples)
        return load(self.source, division, cache_folder())

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

    def prepare(self) -> None:
        self.images  # noqa: B018 - loads and keeps them

    def located(self) -> Mapping[str, Json]:
        named = {"root": self.root} if self.root is not None else {}
        if self.root is None and isinstance(self.source, Archive | Folder):
            named["dataset"] = self.dataset
        return {name: str(Path(path).expanduser().absolute()) for name, path in named.items()}

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
