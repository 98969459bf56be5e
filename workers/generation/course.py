"""AdversarialCourse: a generator and a discriminator in training against each other, and how the images are judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from workers.course import Course, Score
from workers.errors import DivergedError, UserError
from workers.generation.adversarial import Encounter, Judge
from workers.generation.collapse import Watch
from workers.generation.evaluation import Evaluation
from workers.generation.latent import given
from workers.generation.objectives import loss_of
from workers.generation.pair import Pair
from workers.generation.pictures import closing_exhibits, examples_of, samples
from workers.generation.recipe import GenerationRecipe
from workers.generation.replay import Replay
from workers.light import light_of
from workers.optimization import initialise
from workers.seeds import derived
from workers.supervised import under
from workers.task import State
from workers.trial import Json, Trial


@final
@dataclass
class Losses:
    """The sums of an epoch: losses of each network over its steps."""

    discriminator: Tensor
    generator: Tensor
    shown: int = 0
    made: int = 0

    def means(self) -> dict[str, float]:
        """The mean losses; a generator that took no step in the epoch has none."""
        found = {"discriminator_loss": float(self.discriminator) / max(1, self.shown)}
        return {**found, "generator_loss": float(self.generator) / self.made} if self.made else found


@final
class AdversarialCourse(Course):
    """One pass of the discriminator over the training part per epoch; the generator steps now and then.

    Generated images have the classes of the real ones that they are shown beside.
    """

    def __init__(
        self, recipe: GenerationRecipe, model: nn.Module, evaluation: Evaluation, trial: Trial, state: State | None
    ) -> None:
        self.recipe, self.trial, self.evaluation = recipe, trial, evaluation
        self.device, self.loss = evaluation.device, loss_of(recipe)
        if state is None and not trial.heir:
            torch.manual_seed(derived(trial.seed, "initialiser"))
            initialise(model, recipe.initialiser)
        self.light = light_of(evaluation.data, "train", self.device)
        self.pair = Pair(recipe, model.to(self.device), None if state is None else state.tensors)
        self.replay, self.watch, self.trained = Replay(recipe.replay, recipe.replay_size), Watch(), 0
        if state is not None:
            self.trained = state.epoch
            self.replay.restore(under("replay/", state.tensors), self.device)
            self.loss.restore(state.record["loss"])
            self.watch = Watch(state.record["collapsed"], state.record["variety"])
        self._agree()

    def _agree(self) -> None:
        """Raise `UserError` where the objective needs another kind of discriminator."""
        from search_spaces.gan.objectives import ENERGIES

        reconstructs, energy = (
            getattr(self.pair.discriminator, "reconstructs", False),
            self.recipe.objective in ENERGIES,
        )
        if reconstructs != energy:
            raise UserError(
                f"the objective {self.recipe.objective} needs a discriminator that "
                f"{'is an auto-encoder' if energy else 'gives scores'}, but this one "
                f"{'is an auto-encoder' if reconstructs else 'gives scores'}: choose another objective or discriminator"
            )

    @property
    def steps(self) -> int:
        """The discriminator's steps of an epoch."""
        return math.ceil(len(self.light) / self.recipe.batch_size)

    def epoch(self, number: int) -> Mapping[str, float]:
        torch.manual_seed(derived(self.trial.seed, "network", number))  # dropout draws from torch's own generator
        generator = torch.Generator().manual_seed(derived(self.trial.seed, "batches", number))
        self.pair.model.train()
        if number == 0 and self.loss.pretrains:
            self._pretrain(generator)
        horizon, losses = max(self.trial.horizon, self.trial.epochs), Losses(*torch.zeros(2, device=self.device))
        order = torch.randperm(len(self.light), generator=generator)
        for step, places in enumerate(order.tensor_split(self.steps)):
            place = (number + step / self.steps) / horizon
            self.pair.pace(place)
            self._step(
                places, place, generator, losses, (number * self.steps + step + 1) % self.recipe.critic_steps == 0
            )
        self.loss.end_epoch()
        means, self.trained = losses.means(), number + 1
        for name, value in means.items():
            if not math.isfinite(value):
                raise DivergedError(
                    f"the {name.replace('_', ' ')} became {value} in epoch {number + 1}: a lower learning rate, or "
                    "another objective may help"
                )
        look = self.evaluation.look(self.pair.generator, self.trial.seed)  # an average lags by thousands of steps
        self.watch.tell(look, self.trained * self.steps // self.recipe.critic_steps)
        return {**means, "variety": look.variety, **self.loss.figures()}

    def _step(self, places: Tensor, place: float, generator: torch.Generator, losses: Losses, both: bool) -> None:
        """One step of the discriminator, and, where `both`, one of the generator."""
        real, labels = self._real(places)
        with torch.no_grad():
            fake = self._made(len(real), labels, generator)
        fake = self.replay.mixed(fake, labels, generator)
        real, fake = self._exchanged(real, fake, generator)
        judge = Judge(self.pair.discriminator, labels)
        loss = self.loss.discriminator(
            Encounter(judge, self._noised(real, place, generator), self._noised(fake, place, generator), generator)
        )
        self.pair.step_discriminator(loss)
        self.loss.limit(self.pair.discriminator)
        losses.discriminator += loss.detach() * len(real)
        losses.shown += len(real)
        if both:
            with self.pair.only_generator():
                made = self._made(len(real), labels, generator)
                loss = self.loss.generator(judge, self._noised(made, place, generator))
                self.pair.step_generator(loss)
            losses.generator += loss.detach() * len(real)
            losses.made += len(real)

    def _pretrain(self, generator: torch.Generator) -> None:
        """One pass over the real images alone, and one to see what came of it."""
        batches = torch.randperm(len(self.light), generator=generator).tensor_split(self.steps)
        self.pair.pace(0.0)
        for places in batches:
            self.pair.step_discriminator(self._alone(places))
        with torch.no_grad():
            total = sum(float(self._alone(places)) * len(places) for places in batches)
        self.loss.begin(total / len(self.light))

    def _alone(self, places: Tensor) -> Tensor:
        real, labels = self._real(places)
        return self.loss.pretraining(Judge(self.pair.discriminator, labels), real)

    def _real(self, places: Tensor) -> tuple[Tensor, Tensor | None]:
        labels = None if self.evaluation.latent.classes is None else self.light.named(places)
        return self.light.take(places) * 2 - 1, labels

    def _made(self, count: int, labels: Tensor | None, generator: torch.Generator) -> Tensor:
        """`count` images of the generator as it is in training."""
        noise = self.evaluation.latent.noise(count, generator).to(self.device)
        made: Tensor = self.pair.generator(*given(noise, labels))
        return made

    def _exchanged(self, real: Tensor, fake: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Both, with a share of pairs on the wrong sides: noisy labels."""
        if not self.recipe.label_noise:
            return real, fake
        wrong = (torch.rand(len(real), 1, 1, 1, generator=generator) < self.recipe.label_noise).to(real.device)
        return torch.where(wrong, fake, real), torch.where(wrong, real, fake)

    def _noised(self, images: Tensor, place: float, generator: torch.Generator) -> Tensor:
        """Images with instance noise (Sønderby et al., ICLR 2017) as it is at `place` (0 to 1) of the schedule."""
        deviation = self.recipe.instance_noise * max(0.0, 1 - place)
        if not deviation:
            return images
        return images + deviation * torch.randn(images.shape, generator=generator).to(images.device)

    def score(self, split: str) -> Score:
        generator, seed = self.pair.deployed, self.trial.seed
        count = self.evaluation.reference(split).count
        generated = self.evaluation.generated(generator, count, derived(seed, "evaluated"))
        figures = self.evaluation.figures(generated, split)
        exhibits = {"samples.png": samples(self.evaluation, generator, seed)}
        if self.trained >= self.trial.horizon:
            exhibits |= closing_exhibits(self.evaluation, generator, generated, figures)
        examples = examples_of(self.evaluation, generator, seed) if split == "test" else {}
        return Score(figures, examples, exhibits)

    def tensors(self) -> Mapping[str, Tensor]:
        return self.pair.tensors() | {f"replay/{name}": value for name, value in self.replay.tensors().items()}

    def record(self) -> Mapping[str, Json]:
        return {"loss": dict(self.loss.record()), **self.watch.record()}
