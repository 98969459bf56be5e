"""ImageOptions: which images a task learns from, and how they are divided, as options of a job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from workers.datasets import source_of
from workers.errors import UserError
from workers.image_data import Division, ImageData, cache_folder, load
from workers.image_files import Archive, Folder
from workers.image_source import Source
from workers.trial import Json


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """What a task of images has beside its recipe.

    `dataset` is `digits`, `mnist`, `fashion_mnist`, `cifar10`, `cifar100`, `svhn`, `folder` or `npz` (both with
    `root`), or the path of a folder or an .npz file. `validation` and `test` are shares set aside (the latter where
    no test set is published), drawn by `split_seed`. `train_examples` and `validation_examples` use only so many, in
    equal shares of the classes. `image_size` is the side to which a folder's images are resized. `device` is `auto`,
    `cpu`, `cuda` or `cuda:N`.
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

    def check_images(self) -> None:
        """Raise `UserError` for what is no share, no number, no device, or no data set's name."""
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

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image; looks at data of unknown shape."""
        return self.images.shape if self.source.shape is None else self.source.shape

    def prepare(self) -> None:
        """Load the data and keep them."""
        self.images  # noqa: B018

    def located(self) -> Mapping[str, Json]:
        """The options that name files or folders, in full."""
        named = {"root": self.root} if self.root is not None else {}
        if self.root is None and isinstance(self.source, Archive | Folder):
            named["dataset"] = self.dataset
        return {name: str(Path(path).expanduser().absolute()) for name, path in named.items()}
