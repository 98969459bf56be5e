"""SharedTraining: one attempt at a trial whose child is a part of a supernet."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor

from parameter_server.store import PushId, StoreError
from search_spaces.decisions import Candidate
from workers.errors import DivergedError
from workers.image_data import ImageData
from workers.optimization import rate_factor
from workers.seeds import derived
from workers.supernet import Part, Supernet, mean_gradients
from workers.task import Epoch
from workers.training import Examples, Training, examples_of, set_progress
from workers.trial import Attempt

if TYPE_CHECKING:
    from parameter_server.store import Array, Tensors
    from workers.recipe import Recipe

INCARNATION = 2**40  # a version's updates are counted below this


@final
class SharedTraining:
    """Trains the shared weights for the trial's epochs, and scores its child with them.

    A step takes as many batches as there are `children`: the first for the trial's child, the others each for one that
    is drawn from the space anew. The step's gradient, the mean over its children, is one push (ENAS' Monte Carlo
    estimate with M = `children`: https://arxiv.org/abs/1802.03268, section 2.2). The recipe's schedule goes over the
    trial, so that its child is scored where the learning rate is small.

    Pushes are numbered by the trial's steps: an attempt goes on where the one before it was when its worker died.
    """

    def __init__(self, training: Training, data: ImageData, supernet: Supernet) -> None:
        self.training, self.data, self.supernet = training, data, supernet
        self.children = supernet.sharing.children

    def run(self, attempt: Attempt) -> Iterator[Epoch]:
        """Train from the parent's last epoch, if there is a parent, to the trial's; a score after each."""
        trial = attempt.trial
        first = 0 if attempt.parent is None else attempt.parent.trial.epochs
        child = self._part(trial.candidate)
        if first >= trial.epochs:
            yield self._scored(child, {})
            return
        client, store = f"trial-{trial.id}", self.supernet.store
        pushed = store.join(client, attempt.number)
        try:
            for epoch in range(first, trial.epochs):
                step = (epoch - first) * self._steps
                loss = self._train(child, PushId(client, step, attempt.number), epoch, pushed)
                yield self._scored(child, {} if loss is None else {"train_loss": loss})
        finally:
            with contextlib.suppress(StoreError):
                store.leave(client, attempt.number)

    @property
    def _examples(self) -> Examples:
        return examples_of(self.data, "train", self.training.device)

    @property
    def _batches(self) -> int:
        return math.ceil(len(self._examples) / self.training.recipe.batch_size)

    @property
    def _steps(self) -> int:
        """How many pushes an epoch has."""
        return math.ceil(self._batches / self.children)

    def _train(self, child: Part, first: PushId, epoch: int, pushed: int) -> float | None:
        """One epoch from push `first` on, without the steps before `pushed`; the mean loss, if there were any."""
        trial, recipe = self.training.trial, self.training.recipe
        order = torch.Generator().manual_seed(derived(trial.seed, "order", trial.id, epoch))
        batches = torch.randperm(len(self._examples), generator=order).tensor_split(self._batches)
        losses = []
        for step in range(self._steps):
            number = first.number + step
            if number < pushed:
                continue
            seed = derived(trial.seed, "step", trial.id, epoch, step)
            dealt = batches[step * self.children : (step + 1) * self.children]
            place = (epoch + step / self._steps) / max(trial.horizon, trial.epochs)
            parts = [child, *self._others(len(dealt) - 1, seed)]
            pulled = self.supernet.fill(parts)
            losses.append(self._learn(parts, dealt, seed, place))
            if not math.isfinite(losses[-1]):
                raise DivergedError(f"the training loss became {losses[-1]}: a lower learning rate may help")
            gradients = direction(mean_gradients(parts), pulled.tensors, recipe, rate_factor(recipe, place))
            self.supernet.store.push(gradients, pulled.version, PushId(first.client, number, first.attempt))
        return sum(losses) / len(losses) if losses else None

    def _learn(self, parts: list[Part], dealt: tuple[Tensor, ...], seed: int, place: float) -> float:
        """Leave the gradients of each part's loss on its batch in its network; the mean loss."""
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(derived(seed, "augmentation"))
        total = 0.0
        for part, places in zip(parts, dealt, strict=True):
            network = part.network.train()
            set_progress(network, place)
            images, labels = self.training.augmented(self._examples, places, generator)
            network.zero_grad()
            loss = self.training.loss(network, images, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total / len(parts)

    def _others(self, count: int, seed: int) -> list[Part]:
        generator = Random(derived(seed, "children"))
        return [self._part(self.supernet.space.decisions.sample(generator)) for _ in range(count)]

    def _part(self, candidate: Candidate) -> Part:
        part = self.supernet.part(candidate)
        self.training.begin(part.network, None)
        return part

    def _scored(self, child: Part, metrics: dict[str, float]) -> Epoch:
        """The child's metrics on the trial's split with the weights of now, and how many updates these have seen."""
        version = self.supernet.fill([child]).version
        updates = float(max(number % INCARNATION for number in version))
        judged = examples_of(self.data, self.training.trial.split, self.training.device)
        return self.training.scored({**metrics, "updates": updates}, child.network, judged)


def direction(gradients: dict[str, Array], weights: Tensors, recipe: Recipe, factor: float) -> dict[str, Array]:
    """What the store is to step against: as the recipe has it, `gradients` get L1, are clipped as a whole, get L2.

    `factor` is the schedule's. It scales the gradient, for the store's learning rate is constant; with momentum that is
    the same as a scheduled rate inside the momentum.
    """
    if recipe.l1:
        gradients = {name: value + recipe.l1 * np.sign(weights[name]) for name, value in gradients.items()}
    if recipe.gradient_clipping:
        norm = math.sqrt(sum(float(np.vdot(value, value)) for value in gradients.values()))
        clip = min(1.0, recipe.gradient_clipping / (norm + 1e-6))
        gradients = {name: value * np.float32(clip) for name, value in gradients.items()}
    return {
        name: (value + np.float32(recipe.weight_decay) * weights[name]) * np.float32(factor)
        for name, value in gradients.items()
    }
