"""The course of a network that gives images back."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.gan.autoencoder_network import divergence
from workers.course import Score
from workers.errors import DivergedError, UserError
from workers.exhibits import picture
from workers.image_data import ImageData
from workers.light import light_of
from workers.seeds import derived
from workers.supervised import Supervised
from workers.task import State
from workers.trial import Trial

if TYPE_CHECKING:
    from workers.tasks.reconstruction import Reconstruction

JUDGED_AT_ONCE = 500
ANSWERED = 8  # images, whose reconstructions prove an export
SHOWN = 10
LEAST = 1e-10  # mean squared error of a perfect reconstruction: 100 dB
CONSTANTS = {"mse": 0.5 * math.log(math.pi), "l1": math.log(2.0), "bernoulli": 0.0}


@final
class Reconstructing(Supervised[Tensor]):
    """Trains `model` on images of `data`; batches are places in the training part."""

    recipe: Reconstruction

    def __init__(
        self,
        recipe: Reconstruction,
        model: nn.Module,
        data: ImageData,
        trial: Trial,
        start: tuple[torch.device, State | None],
    ) -> None:
        super().__init__(recipe, model, trial, *start)
        self.data, self.images = data, light_of(data, "train", start[0])
        self.variational = bool(getattr(model, "variational", False))

    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[Tensor]:
        order = torch.randperm(len(self.images), generator=generator)
        return order.tensor_split(max(1, math.ceil(len(order) / self.recipe.batch_size)))

    def loss(self, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, int]:
        images = self.images.take(batch)
        found = self.model(spoiled(images, self.recipe.noise, self.recipe.strength, generator))
        loss = pixel_loss(found, images, self.recipe.loss).mean()
        apart = getattr(self.model, "divergence", None)
        if isinstance(apart, Tensor):
            loss = loss + self.recipe.beta * apart.mean() / images[0].numel()
        return loss, len(images)

    @torch.no_grad()
    def score(self, split: str) -> Score:
        self.model.eval()
        images = light_of(self.data, split, self.device)
        generator = torch.Generator().manual_seed(derived(self.recipe.split_seed, "score", split))
        sums = {"mse": 0.0}
        for places in torch.arange(len(images)).tensor_split(math.ceil(len(images) / JUDGED_AT_ONCE)):
            for name, value in self.judged(images.take(places), generator).items():
                sums[name] = sums.get(name, 0.0) + value
        metrics = {name: value / len(images) for name, value in sums.items()}
        metrics["psnr"] = -10 * math.log10(max(metrics["mse"], LEAST)) if math.isfinite(metrics["mse"]) else math.nan
        first = images.take(torch.arange(min(SHOWN, len(images))))
        examples = self.answers(first[:ANSWERED]) if split == "test" else {}
        return Score(metrics, examples, {"samples.png": self.samples(first, generator)})

    def judged(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        """Metrics of a batch, summed over its images."""
        found = self.model(images)
        sums = {"mse": float(functional.mse_loss(found, images, reduction="sum")) / images[0].numel()}
        if self.recipe.noise != "none":
            spoilt = spoiled(images, self.recipe.noise, self.recipe.strength, generator)
            error = functional.mse_loss(self.model(spoilt), images, reduction="sum")
            sums["denoised_mse"] = float(error) / images[0].numel()
        if self.variational:
            sums["elbo"] = float(lower_bound(self.model, images, self.recipe.loss, generator).sum())
        return sums

    def samples(self, images: Tensor, generator: torch.Generator) -> bytes:
        """A picture: images, under them their reconstructions, and under these what the prior's codes give."""
        rows = [images]
        if self.recipe.noise != "none":
            rows.append(spoiled(images, self.recipe.noise, self.recipe.strength, generator))
        rows.append(self.model(rows[-1]))
        if self.variational:
            codes = torch.randn(len(images), int(self.model.latent), generator=generator)  # type: ignore[arg-type]
            rows.append(self.model.decode(codes.to(self.device)))  # type: ignore[operator]
        return picture(rows, max(1, 32 // images.shape[-1]))

    def answers(self, images: Tensor) -> dict[str, Tensor]:
        """A few images and their reconstructions, computed on the CPU."""
        copied = copy.deepcopy(self.model).cpu().eval()
        images = images.cpu()
        return {"input/image": images, "output/reconstruction": copied(images).clone()}


def spoiled(images: Tensor, noise: str, strength: float, generator: torch.Generator) -> Tensor:
    """Images with noise, drawn on the CPU: `gaussian`, or `masking`, by which a pixel is lost in all its channels."""
    if noise == "gaussian":
        return images + strength * torch.randn(images.shape, generator=generator).to(images.device)
    if noise == "masking":
        kept = torch.rand(len(images), 1, *images.shape[2:], generator=generator) >= strength
        return images * kept.to(images.device)
    return images


def pixel_loss(found: Tensor, images: Tensor, loss: str) -> Tensor:
    """The loss of each element of a reconstruction.

    Up to a constant (`CONSTANTS`) each is a negative log likelihood in nats: of N(found, 1/2), of Laplace(found, 1), of
    Bernoulli(found). `UserError` where the last is asked of what are no probabilities.
    """
    if loss == "mse":
        return (found - images).square()
    if loss == "l1":
        return (found - images).abs()
    low, high = float(found.detach().min()), float(found.detach().max())
    if math.isnan(low):
        raise DivergedError("the network's reconstructions are no numbers: a lower learning rate may help")
    if low < 0 or high > 1:
        raise UserError(
            f"loss is bernoulli, which reads intensities as probabilities, but the network gave some from {low:.3g} to "
            f"{high:.3g}: give the space output: sigmoid, or take another loss"
        )
    return functional.binary_cross_entropy(found, images, reduction="none")


def lower_bound(model: nn.Module, images: Tensor, loss: str, generator: torch.Generator) -> Tensor:
    """The evidence lower bound of each image's log likelihood in nats, by one code for each (batch,)."""
    mean, log_variance = model.encode(images)  # type: ignore[operator]
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    found = model.decode(mean + (0.5 * log_variance).exp() * noise)  # type: ignore[operator]
    likelihood = -(pixel_loss(found, images, loss) + CONSTANTS[loss]).flatten(1).sum(dim=1)
    bound: Tensor = likelihood - divergence(mean, log_variance)
    return bound
