"""Evaluation: a generator's figures, and how varied its images are, against real images of the same data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn

from workers.errors import UserError
from workers.generation.collapse import Look, variance
from workers.generation.extractor import AT_ONCE
from workers.generation.latent import Latent, given
from workers.generation.reference import Neighbourhood, Reference, Yardstick, neighbourhood_of, reference_of, some
from workers.image_data import ImageData
from workers.light import light_of
from workers.seeds import derived

LOOKED_AT = 200  # images by which collapse is noticed
FEWEST = 2  # images that have a covariance, and neighbours


@final
@dataclass(frozen=True)
class Generated:
    """Images (count, channels, height, width) in [-1, 1] on the device, and what they were made of, on the CPU."""

    images: Tensor
    noise: Tensor
    labels: Tensor | None


@final
@dataclass(frozen=True)
class Evaluation:
    """Judges generators by `yardstick`, `count` images at a time; what it knows of real images it keeps in `data`.

    Raises `UserError` where a part has too few images to judge by.
    """

    data: ImageData
    yardstick: Yardstick
    latent: Latent
    device: torch.device
    count: int

    def __post_init__(self) -> None:
        for split in ("train", "validation", "test"):
            if (found := len(self.data.part(split))) < FEWEST:
                raise UserError(
                    f"the {split} part has {found} image, but FID needs at least {FEWEST}: set larger shares or larger "
                    "train_examples and validation_examples"
                )

    def reference(self, split: str) -> Reference:
        """The scale of one part."""
        key = ("reference", split, self.yardstick.name, self.device, self.count)
        if key not in self.data.kept:
            self.data.kept[key] = reference_of(self.data, split, self.yardstick, self.count)
        kept: Reference = self.data.kept[key]
        return kept

    @property
    def neighbourhood(self) -> Neighbourhood:
        """Training images, by their features."""
        key = ("neighbourhood", self.yardstick.name, self.device)
        if key not in self.data.kept:
            self.data.kept[key] = neighbourhood_of(self.data, self.yardstick)
        kept: Neighbourhood = self.data.kept[key]
        return kept

    @torch.no_grad()
    def images(self, generator: nn.Module, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """What `generator` makes of noise and labels in evaluation mode, on the device."""
        inputs, training = given(noise, labels), generator.training
        generator.eval()
        parts = zip(*(torch.split(one, AT_ONCE) for one in inputs), strict=True)
        made = torch.cat([generator(*(one.to(self.device) for one in part)) for part in parts])
        generator.train(training)
        return made

    def generated(self, generator: nn.Module, count: int, seed: int) -> Generated:
        """`count` images, of classes as often as training images have them."""
        drawn = torch.Generator().manual_seed(seed)
        noise, labels = self.latent.noise(count, drawn), None
        if self.latent.classes is not None:
            known = torch.from_numpy(self.data.train.labels[self.data.train.rows])
            labels = known[torch.randint(len(known), (count,), generator=drawn)]
        return Generated(self.images(generator, noise, labels), noise, labels)

    def figures(self, generated: Generated, split: str) -> Mapping[str, float]:
        """FID, inception score, precision and recall against one part, and the scale's figures."""
        return self.reference(split).judged(*self.yardstick.features(generated.images))

    def shares(self, images: Tensor) -> Tensor:
        """The share of each class, as the classifier sees it, (classes,)."""
        found = torch.bincount(self.yardstick.classes(images), minlength=len(self.data.classes))
        return found.double() / len(images)

    def look(self, generator: nn.Module, seed: int) -> Look:
        """What shows whether `generator` has collapsed."""
        generated = self.generated(generator, LOOKED_AT, derived(seed, "looked at"))
        real, shares = self._usual
        labels = None if generated.labels is None else generated.labels.to(self.device)
        variety = variance(generated.images, labels) / max(real, 1e-12)
        if labels is not None:
            return Look(variety, "", 0.0, 1.0)
        found = self.shares(generated.images)
        most = int(found.argmax())
        return Look(variety, self.data.classes[most], float(found[most]), float(shares.max()))

    @cached_property
    def _usual(self) -> tuple[float, Tensor]:
        """The variance of real images, as `look` takes it, and the shares of their classes."""
        images, labels = some(light_of(self.data, "train", self.device), 1000, derived(0, "usual"))
        conditional = self.latent.classes is not None
        return variance(images, labels if conditional else None), self.reference("validation").shares
