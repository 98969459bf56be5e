"""The course of networks that translate images."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from workers.course import Course, Score
from workers.errors import DivergedError
from workers.exhibits import picture
from workers.generation.collapse import Look, Watch, variance
from workers.light import Light, light_of
from workers.optimization import add_l1, initialise, optimizer, optimizer_tensors, rate_factor, restore_optimizer
from workers.seeds import derived
from workers.supervised import model_tensors, under
from workers.task import State
from workers.translation.likeness import decibels, similarity
from workers.translation.methods import Sides, method_of
from workers.translation.pairs import SOURCES, intensity, shown_in, signed
from workers.trial import Json, Trial

if TYPE_CHECKING:
    from workers.tasks.image_translation import ImageTranslation

JUDGED_AT_ONCE = 250
ANSWERED = 8  # images, whose translations prove an export
SHOWN = 10
LOOKED_AT = 200  # images by which collapse is noticed


@final
class Translating(Course):
    """Trains generators and discriminators in turns, the latter first, on sides of the images of `task`."""

    def __init__(
        self, task: ImageTranslation, model: nn.Module, trial: Trial, device: torch.device, state: State | None
    ) -> None:
        self.task, self.model, self.trial, self.device = task, model, trial, device
        kept = {} if state is None else state.tensors
        if state is not None:
            model.load_state_dict(under("model/", kept))
        elif not trial.heir:
            torch.manual_seed(derived(trial.seed, "initialiser"))
            initialise(model, task.initialiser)
        model.to(device)
        self.method = method_of(task, model)
        networks = self.method.networks
        self.parts = {
            "generator": _weights(networks.generator, networks.back),
            "discriminator": _weights(networks.discriminator, networks.back_discriminator),
        }
        self.optimizers = {name: _optimizer(task, weights) for name, weights in self.parts.items()}
        for name, chosen in self.optimizers.items():
            if moments := under(f"{name}_optimizer/", kept):
                restore_optimizer(chosen, moments)
        for name, buffer in self.method.buffers.items():
            buffer.restore(under(f"buffer/{name}/", kept), device)
        self.watch = Watch() if state is None else Watch(state.record["collapsed"], state.record["variety"])
        self.images = light_of(task.images, "train", device)

    def epoch(self, number: int) -> Mapping[str, float]:
        task, horizon = self.task, max(self.trial.horizon, self.trial.epochs)
        torch.manual_seed(derived(self.trial.seed, "network", number))  # dropout draws from torch's own generator
        generator = torch.Generator().manual_seed(derived(self.trial.seed, "batches", number))
        batches = self.batches(generator)
        lost = {name: torch.zeros((), device=self.device) for name in self.parts}
        steps = dict.fromkeys(self.parts, 0)
        self.model.train()
        for step, places in enumerate(batches):
            rate = task.learning_rate * rate_factor(task, (number + step / len(batches)) / horizon)
            for group in (group for chosen in self.optimizers.values() for group in chosen.param_groups):
                group["lr"] = rate
            sides = self.sides(places, generator)
            made = self.method.translate(sides)
            losses = {"discriminator": self.method.discriminator(sides, made, generator)}
            self.step("discriminator", losses["discriminator"])
            if (number * len(batches) + step + 1) % self.method.usual.critic_steps == 0:
                with _still(self.parts["discriminator"]):
                    losses["generator"] = self.method.generator(sides, made)
                    self.step("generator", losses["generator"])
            for name, loss in losses.items():
                lost[name] += loss.detach()
                steps[name] += 1
        means = self.said({name: float(lost[name]) / steps[name] for name in self.parts if steps[name]}, number)
        look = self.look()
        self.watch.tell(look, (number + 1) * len(batches) // self.method.usual.critic_steps)
        return {**means, "variety": look.variety}

    def said(self, means: Mapping[str, float], number: int) -> Mapping[str, float]:
        """The mean losses of an epoch by name, all of them numbers."""
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise DivergedError(
                    f"the {name}'s loss became {mean} in epoch {number + 1}: a lower learning rate may help"
                )
        return {f"{name}_loss": mean for name, mean in means.items()}

    @torch.no_grad()
    def look(self) -> Look:
        """What shows whether images that differ still differ once they are translated, into one domain each."""
        self.model.eval()
        first = self.images.take(torch.arange(min(LOOKED_AT, len(self.images))))
        drawn = torch.Generator().manual_seed(derived(self.task.split_seed, "looked at"))
        sides = sides_of(self.task, first, first, drawn)
        usual = max(1e-12, variance(sides.target, sides.goal))
        return Look(variance(self.made(self.model, sides), sides.goal) / usual, "", 0.0, 1.0)

    def record(self) -> Mapping[str, Json]:
        return self.watch.record()

    def batches(self, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        """The places of source and target images of each batch; the same ones where a method sees pairs.

        Without pairs, sources are of one half of the training part, targets of the other, always the same halves.
        """
        count = len(self.images)
        if self.task.method in ("pix2pix", "stargan"):
            order = torch.randperm(count, generator=generator)
            halves = (order, order)
        else:
            split = torch.randperm(count, generator=torch.Generator().manual_seed(self.task.split_seed))
            size = count // 2
            halves = (
                split[:size][torch.randperm(size, generator=generator)],
                split[size:][torch.randperm(count - size, generator=generator)[:size]],
            )
        steps = max(1, math.ceil(len(halves[0]) / self.task.batch_size))
        return list(zip(*(half.tensor_split(steps) for half in halves), strict=True))

    def sides(self, places: tuple[Tensor, Tensor], generator: torch.Generator) -> Sides:
        """A batch as the networks read it."""
        first, second = (self.images.take(one) for one in places)
        return sides_of(self.task, first, second, generator)

    def step(self, name: str, loss: Tensor) -> None:
        """Step one part's optimizer on the gradients of `loss`, with the recipe's penalty and clipping."""
        weights = self.parts[name]
        self.optimizers[name].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.task.l1:
            add_l1(weights, self.task.l1)
        if self.task.gradient_clipping:
            nn.utils.clip_grad_norm_(weights, self.task.gradient_clipping)
        self.optimizers[name].step()

    @torch.no_grad()
    def score(self, split: str) -> Score:
        self.model.eval()
        images = light_of(self.task.images, split, self.device)
        generator = torch.Generator().manual_seed(derived(self.task.split_seed, "score", split))
        sums = {"mae": 0.0, "mse": 0.0, "ssim": 0.0}
        for places in torch.arange(len(images)).tensor_split(math.ceil(len(images) / JUDGED_AT_ONCE)):
            sides = sides_of(self.task, *(images.take(places),) * 2, generator)
            found, right = intensity(self.made(self.model, sides)), intensity(sides.target)
            pixels = right[0].numel()
            sums["mae"] += float(functional.l1_loss(found, right, reduction="sum")) / pixels
            sums["mse"] += float(functional.mse_loss(found, right, reduction="sum")) / pixels
            sums["ssim"] += float(similarity(found, right).sum())
        means = {name: value / len(images) for name, value in sums.items()}
        error = means.pop("mse")
        metrics = {**means, "psnr": decibels(error) if math.isfinite(error) else math.nan}
        shown = self.shown(images)
        examples = self.answers(shown) if split == "test" else {}
        return Score(metrics, examples, {"samples.png": self.samples(shown)})

    def made(self, model: nn.Module, sides: Sides) -> Tensor:
        """What the generator makes of the sources."""
        told = (sides.goal,) if self.task.method == "stargan" else ()
        found: Tensor = model(sides.source, *told)
        return found

    def shown(self, images: Light) -> Sides:
        """The first images of a part, the same ones after every epoch."""
        first = images.take(torch.arange(min(SHOWN, len(images))))
        return sides_of(self.task, first, first, torch.Generator().manual_seed(derived(self.task.split_seed, "shown")))

    def samples(self, sides: Sides) -> bytes:
        """A picture: inputs, under them what is made of these, and under that the truth."""
        rows = (sides.source, self.made(self.model, sides), sides.target)
        return picture([intensity(row) for row in rows], max(1, 32 // sides.source.shape[-1]))

    def answers(self, sides: Sides) -> dict[str, Tensor]:
        """A few inputs and what is made of them, computed on the CPU."""
        copied = copy.deepcopy(self.model).cpu().eval()
        few = Sides(*(one[:ANSWERED].cpu() for one in (sides.source, sides.target, sides.domain, sides.goal)))
        told = {"input/domain": few.goal.contiguous()} if self.task.method == "stargan" else {}
        return {"input/image": few.source.contiguous(), **told, "output/translated": self.made(copied, few).clone()}

    def tensors(self) -> Mapping[str, Tensor]:
        found = model_tensors(self.model)
        for name, chosen in self.optimizers.items():
            found |= {f"{name}_optimizer/{key}": value for key, value in optimizer_tensors(chosen).items()}
        for name, buffer in self.method.buffers.items():
            found |= {f"buffer/{name}/{key}": value for key, value in buffer.tensors().items()}
        return found


def sides_of(task: ImageTranslation, first: Tensor, second: Tensor, generator: torch.Generator) -> Sides:
    """Sources made of the intensities `first`, targets of `second`; with domains, both of `first` in drawn ones."""
    nowhere = torch.zeros(len(first), dtype=torch.int64, device=first.device)
    if task.method != "stargan":
        return Sides(signed(SOURCES[task.pairs](first)), signed(second), nowhere, nowhere)
    names = tuple(task.domains)
    domain, goal = (torch.randint(len(names), (len(first),), generator=generator).to(first.device) for _ in range(2))
    source, target = (signed(shown_in(first, one, names)) for one in (domain, goal))
    return Sides(source, target, domain, goal)


def _weights(*networks: nn.Module | None) -> list[nn.Parameter]:
    return [weight for network in networks if network is not None for weight in network.parameters()]


def _optimizer(task: ImageTranslation, weights: Sequence[nn.Parameter]) -> Optimizer:
    chosen = optimizer(task, weights)
    for group in chosen.param_groups:
        if "betas" in group:
            group["betas"] = (task.beta1, task.beta2)
    return chosen


@contextmanager
def _still(weights: Sequence[nn.Parameter]) -> Iterator[None]:
    """Within it gradients pass through these weights, but none is left in them."""
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
