"""Mode collapse: noticing that a generator gives nearly the same image for every noise, or every image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from workers.errors import DivergedError

ALIKE = 0.01  # of the variance of real images: a tenth of their deviation
ONE_CLASS = 0.99
TRAINED = 1000  # steps of a generator before which that may be its beginning: boundary_equilibrium's are blank at first
VARIED = 0.1  # of the variance: who once had so much has begun
PATIENCE = 2  # epochs in a row at whose end it is so


class CollapsedError(DivergedError):
    """A generator gives nearly the same image whatever goes in."""


@final
@dataclass(frozen=True)
class Look:
    """What is seen of generated images: their variance as a share of that of real ones, and their commonest class.

    `share` is that class's share, `usual` the share of the commonest class of real images.
    """

    variety: float
    commonest: str
    share: float
    usual: float

    def collapsed(self, steps: int, best: float) -> str | None:
        """What is wrong with a generator after so many steps, whose variety was `best` once; None where nothing is."""
        if self.variety < ALIKE and (best >= VARIED or steps >= TRAINED):
            return f"their variance is {self.variety:.2%} of that of real images"
        if self.share >= ONE_CLASS > self.usual and steps >= TRAINED:
            return f"{self.share:.0%} of them are taken for {self.commonest!r}"
        return None


@final
class Watch:
    """Counts the epochs in a row at whose end a generator had collapsed; `best` is its largest variety so far."""

    def __init__(self, seen: int = 0, best: float = 0.0) -> None:
        self.seen, self.best = seen, best

    def tell(self, look: Look, steps: int) -> None:
        """Hear what a generator gives after `steps` steps; raises `CollapsedError` once it stays so."""
        self.best = max(self.best, look.variety)
        wrong = look.collapsed(steps, self.best)
        self.seen = 0 if wrong is None else self.seen + 1
        if self.seen >= PATIENCE:
            raise CollapsedError(
                f"the generator gives nearly the same image whatever goes in: {wrong}, for a whole epoch. A lower "
                "learning rate, another objective, or label or instance noise may help"
            )

    def record(self) -> Mapping[str, float]:
        """What must be kept to go on exactly."""
        return {"collapsed": self.seen, "variety": self.best}


def variance(images: Tensor, labels: Tensor | None) -> float:
    """The mean variance of a pixel, in 64 bits; within classes where there are labels."""
    rows = images.detach().flatten(1).double()
    groups = [rows] if labels is None else [rows[labels == label] for label in torch.unique(labels)]
    squares = sum(float((group - group.mean(0)).square().sum()) for group in groups)
    freedom = max(1, len(rows) - len(groups))
    return squares / (freedom * rows.shape[1])
