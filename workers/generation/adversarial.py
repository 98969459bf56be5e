"""AdversarialLoss: what a discriminator and a generator minimise; Judge: the discriminator as a loss sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from workers.trial import Json


@final
class Judge:
    """A discriminator beside the labels of a batch, None where it is not conditional.

    Called with images (batch, channels, height, width) it gives scores (batch,), or, where it is an auto-encoder,
    reconstructions of the images' shape. An auto-encoder's `encode` gives its codes; one that has none is taken by its
    reconstructions.
    """

    def __init__(self, network: nn.Module, labels: Tensor | None) -> None:
        self.network, self.given = network, () if labels is None else (labels,)

    def __call__(self, images: Tensor) -> Tensor:
        answer: Tensor = self.network(images, *self.given)
        return answer

    def codes(self, images: Tensor) -> Tensor:
        """One row per image."""
        encode: Any = getattr(self.network, "encode", None)
        codes: Tensor = self(images) if encode is None else encode(images)
        return codes.reshape(len(images), -1)


@final
@dataclass(frozen=True)
class Encounter:
    """What a step of the discriminator sees: real images, and as many generated ones, without their history.

    `generator` draws what else is random, on the CPU.
    """

    judge: Judge
    real: Tensor
    fake: Tensor
    generator: torch.Generator


class AdversarialLoss(ABC):
    """What both networks minimise; holds whatever an objective carries from step to step."""

    pretrains = False  # whether the discriminator first sees all real images once, alone, by the two methods below

    @abstractmethod
    def discriminator(self, seen: Encounter) -> Tensor:
        """The mean loss of the discriminator."""

    @abstractmethod
    def generator(self, judge: Judge, fake: Tensor) -> Tensor:
        """The mean loss of the generator, which made `fake`."""

    def pretraining(self, judge: Judge, real: Tensor) -> Tensor:
        """The mean loss of the discriminator before there is a generator."""
        raise NotImplementedError(f"{type(self).__name__} has no training of the discriminator alone")

    def begin(self, pretrained: float) -> None:
        """Hear what `pretraining` came to, over all real images."""

    def limit(self, discriminator: nn.Module) -> None:
        """Put the discriminator's weights back into their bounds, after each of its steps."""

    def end_epoch(self) -> None:
        """Hear that an epoch is over."""

    def figures(self) -> Mapping[str, float]:
        """What is worth saying of the last epoch."""
        return {}

    def record(self) -> Mapping[str, Json]:
        """What must be kept to go on exactly."""
        return {}

    def restore(self, record: Mapping[str, Json]) -> None:
        """Put back what `record` gave."""
