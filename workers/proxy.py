"""Proxy: a score of a network that was never trained, at the cost of a forward pass or two."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workers.plugins import available, load

if TYPE_CHECKING:
    from torch import Tensor, nn

FOLDER = "workers.proxies"


class Proxy(ABC):
    """A score, larger for networks that are expected to learn better; named as its file in `workers/proxies`."""

    @abstractmethod
    def score(self, model: nn.Module, inputs: Sequence[Tensor]) -> float | None:
        """The score of `model`, or None where it has none; draws nothing at random and leaves the model as it was.

        `inputs` are what the model takes, a minibatch of each, on the model's device.
        """


def score(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, float]:
    """Every proxy that this network allows, by name; whatever a proxy stumbles over, but for memory, is no score."""
    found: dict[str, float] = {}
    for name in sorted(available(FOLDER, Proxy)):
        try:
            one = load(FOLDER, name, Proxy)().score(model, inputs)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError) as error:
            if "memory" in str(error):
                raise
            continue
        if one is not None and math.isfinite(one):
            found[name] = one
    return found
