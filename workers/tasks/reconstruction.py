"""Reconstruct images through a code: auto-encoders, with noise denoising ones, and variational ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, final

from search_spaces.decision import Choice, Decision, Range
from search_spaces.decisions import Candidate
from search_spaces.space import Signature
from workers.errors import UserError
from workers.image_options import ImageOptions
from workers.objectives import Direction, Objective
from workers.recipe import Recipe
from workers.task import Deployed, Epoch, State, Task
from workers.trial import Json, Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

NOISES = ("none", "gaussian", "masking")
LOSSES = ("mse", "bernoulli", "l1")


@final
@dataclass(frozen=True, kw_only=True)
class Reconstruction(Recipe, ImageOptions, Task):
    """Options: those of the recipe, which images, and what is lost in which way.

    `noise` is what the network sees in training in the place of an image, which it is to give back clean (Vincent et
    al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008): `gaussian` of deviation
    `strength`, or `masking`, the share `strength` of all pixels set to 0. `loss` of a pixel: the squared or (`l1`) the
    absolute error, or the cross entropy of intensities read as probabilities (`bernoulli`). `beta` weighs the
    divergence of a variational network's codes (Higgins et al., "beta-VAE", ICLR 2017); 1 is the lower bound itself.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 64
    noise: str = "none"
    strength: float = 0.3
    loss: str = "mse"
    beta: float = 1.0

    rules: ClassVar[Mapping[str, Decision]] = MappingProxyType(
        {
            **Recipe.rules,
            "noise": Choice(NOISES),
            "strength": Range(0.0, 1.0),
            "loss": Choice(LOSSES),
            "beta": Range(0.0, 1e6),
        }
    )

    needs_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_images()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return Objective("mse", Direction.MINIMIZE), Objective("psnr", Direction.MAXIMIZE)

    @cached_property
    def signature(self) -> Signature:
        """An image of intensities from 0 to 1 in, one of the same shape out."""
        shape = self.image_shape
        return Signature("reconstruction", {"image": shape}, {"reconstruction": shape})

    @property
    def preprocessing(self) -> Mapping[str, Json]:
        """What the numbers of an image mean."""
        return {"image": "pixels / 255"}

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        """Metrics `mse`, `psnr` (dB); with noise `denoised_mse`; of a variational network `elbo`, nats per image."""
        if model is None:
            raise UserError("reconstruction trains networks of a search space, but the job names none: add `space`")
        from workers.course import follow
        from workers.device import device_of
        from workers.reconstructing import Reconstructing

        recipe = self.closed(trial.candidate)
        course = Reconstructing(recipe, model, self.images, trial, (device_of(self.device), state))
        yield from follow(course, trial, state)

    def minibatch(self, size: int, seed: int) -> tuple[torch.Tensor, ...]:
        import torch

        from workers.light import light_of

        images = light_of(self.images, "train", torch.device("cpu"))
        drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:size]
        return (images.take(drawn),)

    def deployable(self, model: nn.Module, candidate: Candidate) -> Mapping[str, Deployed]:
        """The network, and its two halves where it has them; images are intensities from 0 to 1."""
        import torch

        from workers.light import light_of

        images = light_of(self.images, "test", torch.device("cpu")).take(torch.arange(2))
        model.eval()
        found = {"model": Deployed(model, (images,), ("image",), ("reconstruction",))}
        encoder, decoder = getattr(model, "encoder", None), getattr(model, "decoder", None)
        if not isinstance(encoder, torch.nn.Module) or not isinstance(decoder, torch.nn.Module):
            return found
        with torch.no_grad():
            codes = encoder(images)
        names = ("mean", "log_variance") if len(codes) == 2 else ("code",)
        found["encoder"] = Deployed(encoder, (images,), ("image",), names)
        found["decoder"] = Deployed(decoder, (codes[0],), ("code",), ("reconstruction",))
        return found
