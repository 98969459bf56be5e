"""Batches: a training cut into numbered batches, whose gradients anyone can compute, in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from workers.recipe import Recipe
from workers.task import State

if TYPE_CHECKING:
    from torch import nn


class Batches(ABC):
    """All batches of a training of `model`: `count` in all, `per_epoch` of an epoch, `parts` of one step of the recipe.

    What a batch is, and all that is random in it, is a function of the seed and its number. `model` is on its device,
    with the weights that it starts from.
    """

    model: nn.Module
    recipe: Recipe
    count: int
    per_epoch: int
    parts: int

    @abstractmethod
    def learn(self, number: int) -> float:
        """The mean loss of a batch; its gradients, before any weight decay, are then in the parameters of `model`."""

    @abstractmethod
    def examples(self, number: int) -> int:
        """How many examples a batch has."""

    @abstractmethod
    def share(self, number: int) -> float:
        """What a batch weighs in the mean over the `parts` of its step: 1 where all have as many examples."""

    @abstractmethod
    def settle(self) -> None:
        """Give `model` what no gradient gives: the statistics of its normalisations, from the training data."""

    @abstractmethod
    def state(self) -> State:
        """`model` as it is now, at the end of its training."""

    def place(self, number: int) -> float:
        """How far the schedule is at a batch, from 0 to 1; equal for all parts of a step."""
        return number // self.parts * self.parts / self.count
