"""Translate images into others: pix2pix, CycleGAN, DiscoGAN, StarGAN, on pairs made from any images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, final

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Signature
from workers.errors import UserError
from workers.image_options import ImageOptions
from workers.objectives import Direction, Objective
from workers.task import Deployed, Epoch, State, Task
from workers.translation.recipe import TranslationRecipe
from workers.trial import Json, Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

PAIRS = ("grey_to_colour", "edges_to_image", "masked_to_whole", "small_to_large")
DOMAINS = ("whole", "inverted", "masked", "small", "edges")


@final
@dataclass(frozen=True, kw_only=True)
class ImageTranslation(TranslationRecipe, ImageOptions, Task):
    """Options: those of the recipe, which images, and what is made of them.

    `pairs` says what is given and what is sought: `grey_to_colour`, `edges_to_image`, `masked_to_whole` or
    `small_to_large`. Methods that see no pairs get the two sides of different images; all are measured against the
    truth. `domains` are those of stargan: `whole`, `inverted`, `masked`, `small`, `edges`.
    """

    pairs: str = "edges_to_image"
    domains: Sequence[str] = ("whole", "inverted", "small")

    needs_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_images()
        object.__setattr__(self, "domains", tuple(self.domains))
        Choice(PAIRS).check("pairs", self.pairs)
        if wrong := [name for name in self.domains if name not in DOMAINS]:
            raise UserError(f"domains has {wrong[0]!r}, but there are {', '.join(DOMAINS)}")
        if len(self.domains) < 2 or len(set(self.domains)) < len(self.domains):
            raise UserError(f"domains is {list(self.domains)}, but must name at least two, and none twice")
        method = self.decisions["method"]
        if isinstance(method, Choice) and "stargan" in method.options and len(method.options) > 1:
            raise UserError(
                "method is left to the search with stargan among others, but it alone is told a domain: search it in a "
                "job of its own"
            )

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (
            Objective("mae", Direction.MINIMIZE),
            Objective("psnr", Direction.MAXIMIZE),
            Objective("ssim", Direction.MAXIMIZE),
        )

    @cached_property
    def starred(self) -> bool:
        """Whether images go from any domain to any other."""
        return self.decisions["method"].points == ("stargan",)

    @cached_property
    def signature(self) -> Signature:
        """Images in [-1, 1]; with domains the number of the one to go to, besides."""
        channels, *size = self.image_shape
        if self.starred:
            shape, domains = (channels, *size), {"domain": len(self.domains)}
            return Signature("image_translation", {"image": shape, "domain": ()}, {"translated": shape}, domains)
        if self.pairs == "grey_to_colour" and channels != 3:
            raise UserError(
                f"pairs is grey_to_colour, but the images of {self.dataset} have {channels} channel, no colour: take "
                f"one of {', '.join(PAIRS[1:])}, or images in colour such as cifar10"
            )
        given = 1 if self.pairs in ("grey_to_colour", "edges_to_image") else channels
        return Signature("image_translation", {"image": (given, *size)}, {"translated": (channels, *size)})

    @property
    def preprocessing(self) -> Mapping[str, Json]:
        """What the numbers of an image mean, and those of the domains."""
        made = {"domain": list(self.domains)} if self.starred else {"pairs": self.pairs}
        return {"image": "pixels / 127.5 - 1", "translated": "its pixels are (translated + 1) * 127.5", **made}

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        """Metrics `mae`, `psnr` (dB) and `ssim` of intensities from 0 to 1 against the truth."""
        if model is None:
            raise UserError("image_translation trains networks of a search space, but the job names none: add `space`")
        from workers.course import follow
        from workers.device import device_of
        from workers.translation.translating import Translating

        self.images  # noqa: B018 - loaded before `closed` makes a copy of this
        yield from follow(Translating(self._closed(trial), model, trial, device_of(self.device), state), trial, state)

    def _closed(self, trial: Trial) -> ImageTranslation:
        """This with the candidate's settings, and with the data that are loaded already."""
        found = self.closed(trial.candidate)
        vars(found)["images"] = self.images
        return found

    def part(self, blueprint: Blueprint) -> tuple[Blueprint, str]:
        """The generator; a network that is built otherwise is handed over whole."""
        from search_spaces.gan.translation_network import GENERATORS

        kind, arguments = blueprint.arguments.get("kind"), blueprint.arguments.get("generator")
        if kind not in GENERATORS or not isinstance(arguments, Mapping):
            return blueprint, ""
        network = GENERATORS[kind]
        return Blueprint(f"{network.__module__}:{network.__name__}", arguments, blueprint.activation), "generator."

    def minibatch(self, size: int, seed: int) -> tuple[torch.Tensor, ...]:
        import torch

        from workers.light import light_of

        generator = torch.Generator().manual_seed(seed)
        images = light_of(self.images, "train", torch.device("cpu"))
        drawn = torch.randperm(len(images), generator=generator)[:size]
        return self._inputs(images.take(drawn), generator)

    def deployable(self, model: nn.Module, candidate: Candidate) -> Mapping[str, Deployed]:
        """The generator, and the one of the way back where there is one; images are in [-1, 1]."""
        import torch

        from workers.light import light_of

        images = light_of(self.images, "test", torch.device("cpu")).take(torch.arange(2))
        inputs = self._inputs(images, torch.Generator().manual_seed(0))
        names = ("image", "domain") if self.starred else ("image",)
        model.eval()
        generator, back = getattr(model, "generator", model), getattr(model, "back", None)
        found = {"model": Deployed(generator, inputs, names, ("translated",))}
        if isinstance(back, torch.nn.Module):
            from workers.translation.pairs import signed

            found["back"] = Deployed(back, (signed(images),), ("image",), ("translated",))
        return found

    def _inputs(self, images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        from workers.translation.translating import sides_of

        made = self.closed(Candidate({"method": "stargan" if self.starred else "pix2pix"}))
        sides = sides_of(made, images, images, generator)
        return (sides.source, sides.goal) if self.starred else (sides.source,)
