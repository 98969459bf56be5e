"""Supervised: the course of one network with one optimizer and one loss."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from workers.course import Course
from workers.errors import DivergedError
from workers.optimization import add_l1, initialise, optimizer, optimizer_tensors, rate_factor, restore_optimizer
from workers.recipe import Recipe
from workers.seeds import derived
from workers.task import State
from workers.trial import Trial

B = TypeVar("B")


class Supervised(Course, Generic[B]):
    """Steps `model` on the loss of one batch `B` after the other, as `recipe` has it.

    A subclass says what the batches of an epoch are, the loss of one, and the score.
    """

    def __init__(
        self, recipe: Recipe, model: nn.Module, trial: Trial, device: torch.device, state: State | None
    ) -> None:
        self.recipe, self.model, self.trial, self.device = recipe, model, trial, device
        if state is None:
            torch.manual_seed(derived(trial.seed, "initialiser"))
            if not trial.heir:
                initialise(model, recipe.initialiser)
        else:
            model.load_state_dict(under("model/", state.tensors))
        model.to(device)
        self.optimizer = optimizer(recipe, model.parameters())
        if state is not None and (kept := under("optimizer/", state.tensors)):
            restore_optimizer(self.optimizer, kept)

    @abstractmethod
    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[B]:
        """The batches of an epoch, in order; random as `generator` is."""

    @abstractmethod
    def loss(self, batch: B, generator: torch.Generator) -> tuple[Tensor, int]:
        """The mean loss of a batch, and over how many things it is the mean."""

    def epoch(self, number: int) -> Mapping[str, float]:
        recipe, horizon = self.recipe, max(self.trial.horizon, self.trial.epochs)
        torch.manual_seed(derived(self.trial.seed, "network", number))  # dropout draws from torch's own generator
        generator = torch.Generator().manual_seed(derived(self.trial.seed, "batches", number))
        batches, total, count = self.batches(number, generator), torch.zeros((), device=self.device), 0
        self.model.train()
        for step, batch in enumerate(batches):
            rate = recipe.learning_rate * rate_factor(recipe, (number + step / len(batches)) / horizon)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss, size = self.loss(batch, generator)
            self.step(loss)
            total += loss.detach() * size
            count += size
        mean = float(total) / max(1, count)
        if not math.isfinite(mean):
            raise DivergedError(
                f"the training loss became {mean} in epoch {number + 1}: a lower learning rate may help"
            )
        return {"train_loss": mean}

    def step(self, loss: Tensor) -> None:
        """Step the optimizer on the gradients of `loss`, with the recipe's penalty and clipping."""
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.l1:
            add_l1(weights, self.recipe.l1)
        if self.recipe.gradient_clipping:
            nn.utils.clip_grad_norm_(weights, self.recipe.gradient_clipping)
        self.optimizer.step()

    def tensors(self) -> Mapping[str, Tensor]:
        return model_tensors(self.model) | {
            f"optimizer/{name}": value for name, value in optimizer_tensors(self.optimizer).items()
        }


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's part of a training state; weights that are tied stand there under each of their names."""
    return {f"model/{name}": value.detach().cpu().clone() for name, value in model.state_dict().items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
