"""The batches of an image classifier."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from workers.batches import Batches
from workers.errors import UserError
from workers.image_data import ImageData
from workers.seeds import derived
from workers.task import State
from workers.training import Training, examples_of, set_progress

SETTLED = 100  # batches whose statistics are averaged (precise batch norm: https://arxiv.org/abs/2105.07576)


@final
class ImageBatches(Batches):
    """Each step of the recipe is divided into `parts` of nearly equal size; an epoch has a permutation of its own."""

    def __init__(
        self, training: Training, model: nn.Module, data: ImageData, state: State | None = None, parts: int = 1
    ) -> None:
        self.training, self.model, self.recipe, self.parts = training, model, training.recipe, parts
        self.data = examples_of(data, "train", training.device)
        self.steps = math.ceil(len(self.data) / self.recipe.batch_size)
        self.per_epoch = self.steps * parts
        self.count = self.per_epoch * training.trial.epochs
        smallest = len(self.data) // self.steps // parts
        if smallest < 2:
            raise UserError(
                f"a step has {len(self.data) // self.steps} examples, too few for {parts} workers with 2 each or more: "
                "take fewer workers or a larger batch_size"
            )
        training.begin(model, state)
        self._order: tuple[int, tuple[Tensor, ...]] = (-1, ())

    def learn(self, number: int) -> float:
        set_progress(self.model, self.place(number))
        self.model.train()
        torch.manual_seed(derived(self.training.trial.seed, "network", "batch", number))
        return float(self.training.learn(self.model, self.data, self._places(number), self._generator(number)))

    def examples(self, number: int) -> int:
        return len(self._places(number))

    def share(self, number: int) -> float:
        return self.parts * len(self._places(number)) / len(self._step(number // self.parts))

    def settle(self) -> None:
        """Batch norms average over batches of the last epoch, as they were seen in training."""
        torch.manual_seed(derived(self.training.trial.seed, "network", "settle"))
        update_bn(self._last_images(), self.model)

    def state(self) -> State:
        trial = self.training.trial
        tensors = {f"model/{name}": value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        return State(trial.epochs, tensors, {"seed": trial.seed, "horizon": trial.horizon})

    def _last_images(self) -> Iterator[Tensor]:
        first = max(self.count // self.parts - self.steps, 0)
        for step in range(first, first + min(self.steps, SETTLED)):
            generator = torch.Generator().manual_seed(derived(self.training.trial.seed, "settle", step))
            yield self.training.augmented(self.data, self._step(step), generator)[0]

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(derived(self.training.trial.seed, "augmentation", "batch", number))

    def _places(self, number: int) -> Tensor:
        step, part = divmod(number, self.parts)
        return self._step(step).tensor_split(self.parts)[part]

    def _step(self, step: int) -> Tensor:
        """Which images a step of the recipe sees."""
        epoch, step = divmod(step, self.steps)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(derived(self.training.trial.seed, "order", epoch))
            self._order = epoch, torch.randperm(len(self.data), generator=generator).tensor_split(self.steps)
        return self._order[1][step]
