"""Objectives whose discriminator is an auto-encoder: an image's energy is how badly it is reconstructed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn.functional import relu

from workers.generation.adversarial import AdversarialLoss, Encounter, Judge
from workers.generation.penalties import pulling_away
from workers.trial import Json


def squared_errors(judge: Judge, images: Tensor) -> Tensor:
    """The mean squared error of each image's reconstruction, (batch,)."""
    return (judge(images) - images).square().flatten(1).mean(1)


def absolute_errors(judge: Judge, images: Tensor) -> Tensor:
    """The mean absolute error of each image's reconstruction, (batch,)."""
    return (judge(images) - images).abs().flatten(1).mean(1)


@final
@dataclass(frozen=True)
class EnergyBased(AdversarialLoss):
    """Low energy for real images, at least `margin` for generated ones (Zhao et al., ICLR 2017, equations 1 and 2).

    The generator also pays `diversity` times the pulling-away term of its images' codes (section 2.4 there).
    """

    margin: float
    diversity: float

    def discriminator(self, seen: Encounter) -> Tensor:
        real, fake = (squared_errors(seen.judge, images) for images in (seen.real, seen.fake))
        return real.mean() + relu(self.margin - fake).mean()

    def generator(self, judge: Judge, fake: Tensor) -> Tensor:
        energy = squared_errors(judge, fake).mean()
        return energy + self.diversity * pulling_away(judge.codes(fake)) if self.diversity else energy


@final
class MarginAdaptive(AdversarialLoss):
    """Energy-based, with a margin that falls to the mean energy of real images (Wang et al. 2017, arXiv 1704.03817).

    After one pass over the real images alone, the margin is their mean energy. After an epoch it becomes that
    epoch's mean energy of real images where this is below the margin and below that of generated ones, and the
    latter did not fall since the epoch before (algorithm 1 there).
    """

    pretrains = True

    def __init__(self) -> None:
        self.margin = math.inf
        self.before = math.inf  # generated images' mean energy in the epoch before: the first never lowers the margin
        self._sums, self._counts = [0.0, 0.0], [0, 0]

    def discriminator(self, seen: Encounter) -> Tensor:
        real = squared_errors(seen.judge, seen.real)
        self._count(0, real)
        return real.mean() + relu(self.margin - squared_errors(seen.judge, seen.fake)).mean()

    def pretraining(self, judge: Judge, real: Tensor) -> Tensor:
        return squared_errors(judge, real).mean()

    def begin(self, pretrained: float) -> None:
        self.margin = pretrained

    def generator(self, judge: Judge, fake: Tensor) -> Tensor:
        energies = squared_errors(judge, fake)
        self._count(1, energies)
        return energies.mean()

    def _count(self, side: int, energies: Tensor) -> None:
        self._sums[side] += float(energies.detach().sum())
        self._counts[side] += len(energies)

    def end_epoch(self) -> None:
        real, fake = (
            total / count if count else math.inf for total, count in zip(self._sums, self._counts, strict=True)
        )
        if real < self.margin and real < fake and self.before <= fake:
            self.margin = real
        self.before = fake
        self._sums, self._counts = [0.0, 0.0], [0, 0]

    def figures(self) -> Mapping[str, float]:
        return {"margin": self.margin}

    def record(self) -> Mapping[str, Json]:
        return {"margin": self.margin, "before": None if math.isinf(self.before) else self.before}

    def restore(self, record: Mapping[str, Json]) -> None:
        self.margin = record["margin"]
        self.before = math.inf if record["before"] is None else record["before"]


@final
class BoundaryEquilibrium(AdversarialLoss):
    """Energies of generated images held at `ratio` times those of real ones (Berthelot et al. 2017, arXiv 1703.10717).

    `k` weighs the generated images in the discriminator's loss and moves after each of the generator's steps by `gain`
    times what the balance lacks, within [0, 1]; published is 0.001. `convergence` is the paper's global measure, over
    the last epoch.
    """

    def __init__(self, ratio: float, gain: float) -> None:
        self.ratio, self.gain, self.k = ratio, gain, 0.0
        self._real = 0.0
        self._measures: list[float] = []
        self._figures: Mapping[str, float] = {}

    def discriminator(self, seen: Encounter) -> Tensor:
        real, fake = (absolute_errors(seen.judge, images).mean() for images in (seen.real, seen.fake))
        self._real = float(real.detach())
        return real - self.k * fake

    def generator(self, judge: Judge, fake: Tensor) -> Tensor:
        energy = absolute_errors(judge, fake).mean()
        self.balance(self._real, float(energy.detach()))
        return energy

    def balance(self, real: float, fake: float) -> None:
        """Move k, given the mean energies of a batch of real images and of one that the generator made."""
        lacking = self.ratio * real - fake
        self.k = min(1.0, max(0.0, self.k + self.gain * lacking))
        self._measures.append(real + abs(lacking))

    def end_epoch(self) -> None:
        reached = {"convergence": sum(self._measures) / len(self._measures)} if self._measures else {}
        self._figures, self._measures = {"equilibrium": self.k, **reached}, []

    def figures(self) -> Mapping[str, float]:
        return self._figures

    def record(self) -> Mapping[str, Json]:
        return {"k": self.k}

    def restore(self, record: Mapping[str, Json]) -> None:
        self.k = record["k"]
