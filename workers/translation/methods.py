"""What the published methods of translating images lose: pairs, ways there and back, domains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.errors import UserError
from workers.translation.adversaries import Adversary
from workers.translation.image_buffer import ImageBuffer
from workers.translation.recipe import TranslationRecipe


@final
@dataclass(frozen=True)
class Sides:
    """A batch: images of both sides in [-1, 1], which belong together only where a method sees pairs.

    With domains (batch,) `domain` is that of the `source` images, `goal` the one into which they are to go.
    """

    source: Tensor
    target: Tensor
    domain: Tensor
    goal: Tensor


@final
@dataclass(frozen=True)
class Networks:
    """What is trained: the generator and its discriminator, and those of the way back, where there is one."""

    generator: nn.Module
    discriminator: nn.Module
    back: nn.Module | None
    back_discriminator: nn.Module | None

    @classmethod
    def of(cls, model: nn.Module, method: str, back: bool) -> Networks:
        """The networks of `model`; `UserError` where it has not those that `method` trains."""
        names = ("generator", "discriminator", "back", "back_discriminator")
        found = [one if isinstance(one := getattr(model, name, None), nn.Module) else None for name in names]
        if found[0] is None or found[1] is None or [one is not None for one in found[2:]] != [back, back]:
            needed = "two generators, each with a discriminator" if back else "one generator with its discriminator"
            raise UserError(
                f"{method} trains {needed}, but {type(model).__name__} has not just these as {', '.join(names)}: "
                "choose the space image_translation"
            )
        return cls(found[0], found[1], found[2], found[3])


class Method(ABC):
    """The losses of one batch; `buffers` by name are all that a method carries from step to step."""

    def __init__(self, recipe: TranslationRecipe, model: nn.Module) -> None:
        self.recipe, self.usual = recipe, recipe.usual
        self.adversary = Adversary(self.usual.objective, recipe.penalty)
        self.buffers: dict[str, ImageBuffer] = {}
        self.networks = Networks.of(model, recipe.method, back=isinstance(self, Cyclic))

    @abstractmethod
    def translate(self, sides: Sides) -> Mapping[str, Tensor]:
        """What the generators make of a batch."""

    @abstractmethod
    def discriminator(self, sides: Sides, made: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """The loss of all discriminators."""

    @abstractmethod
    def generator(self, sides: Sides, made: Mapping[str, Tensor]) -> Tensor:
        """The loss of all generators."""

    def judged(self, name: str, network: nn.Module, sides: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
        """The loss of one discriminator, which sees (real, generated) images, the latter through its buffer."""
        real, fake = sides[0], self.buffers[name].shown(sides[1].detach(), generator)
        loss = self.adversary.apart(network(real), network(fake))
        return loss + self.adversary.smooth(network, real, fake, None, generator)


@final
class Paired(Method):
    """Pix2pix: the discriminator may see what an image was made from; the generator is to come near the truth, too."""

    def translate(self, sides: Sides) -> Mapping[str, Tensor]:
        return {"target": self.networks.generator(sides.source)}

    def seen(self, sides: Sides) -> Tensor | None:
        """What a conditional discriminator sees besides."""
        channels = getattr(self.networks.discriminator, "inputs", 0)
        return sides.source if channels > sides.target.shape[1] else None

    def discriminator(self, sides: Sides, made: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        judge, seen, fake = self.networks.discriminator, self.seen(sides), made["target"].detach()
        loss = self.adversary.apart(judge(sides.target, seen), judge(fake, seen))
        return loss + self.adversary.smooth(judge, sides.target, fake, seen, generator)

    def generator(self, sides: Sides, made: Mapping[str, Tensor]) -> Tensor:
        fooled = self.adversary.fooled(self.networks.discriminator(made["target"], self.seen(sides)))
        return fooled + self.recipe.likeness * functional.l1_loss(made["target"], sides.target)


@final
class Cyclic(Method):
    """CycleGAN and DiscoGAN: two generators, from each side to the other, are to bring images back."""

    def __init__(self, recipe: TranslationRecipe, model: nn.Module) -> None:
        super().__init__(recipe, model)
        self.buffers = {name: ImageBuffer(self.usual.buffer) for name in ("source", "target")}

    def translate(self, sides: Sides) -> Mapping[str, Tensor]:
        there, back = self.networks.generator, self.networks.back
        assert back is not None
        target, source = there(sides.source), back(sides.target)
        return {"target": target, "source": source, "source_again": back(target), "target_again": there(source)}

    def discriminator(self, sides: Sides, made: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        other = self.networks.back_discriminator
        assert other is not None
        there = self.judged("target", self.networks.discriminator, (sides.target, made["target"]), generator)
        return there + self.judged("source", other, (sides.source, made["source"]), generator)

    def generator(self, sides: Sides, made: Mapping[str, Tensor]) -> Tensor:
        other = self.networks.back_discriminator
        assert other is not None
        fooled = self.adversary.fooled(self.networks.discriminator(made["target"]))
        fooled = fooled + self.adversary.fooled(other(made["source"]))
        return fooled + self.usual.cycle * self.cycle(sides, made)

    def cycle(self, sides: Sides, made: Mapping[str, Tensor]) -> Tensor:
        """How far images come back from where they were, on both sides."""
        apart = functional.mse_loss if self.recipe.method == "discogan" else functional.l1_loss
        return apart(made["source_again"], sides.source) + apart(made["target_again"], sides.target)


@final
class Star(Method):
    """StarGAN: one generator for all domains, and a discriminator that names the domain, too."""

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's scores, and its logits of the domains."""
        both = getattr(self.networks.discriminator, "both", None)
        if not callable(both):
            raise UserError(
                "stargan needs a discriminator whose `both` gives scores and domains: choose the space "
                "image_translation"
            )
        scores, domains = both(images)
        return scores, domains

    def translate(self, sides: Sides) -> Mapping[str, Tensor]:
        return {"target": self.networks.generator(sides.source, sides.goal)}

    def discriminator(self, sides: Sides, made: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        fake = made["target"].detach()
        judge = self.networks.discriminator
        scores, domains = self.both(sides.source)
        loss = self.adversary.apart(scores, judge(fake))
        loss = loss + self.recipe.classification * functional.cross_entropy(domains, sides.domain)
        return loss + self.adversary.smooth(judge, sides.source, fake, None, generator)

    def generator(self, sides: Sides, made: Mapping[str, Tensor]) -> Tensor:
        scores, domains = self.both(made["target"])
        loss = self.adversary.fooled(scores)
        loss = loss + self.recipe.classification * functional.cross_entropy(domains, sides.goal)
        again = self.networks.generator(made["target"], sides.domain)
        return loss + self.usual.cycle * functional.l1_loss(again, sides.source)


def method_of(recipe: TranslationRecipe, model: nn.Module) -> Method:
    """The losses that the recipe names, of the networks of `model`."""
    if recipe.method == "pix2pix":
        return Paired(recipe, model)
    return Star(recipe, model) if recipe.method == "stargan" else Cyclic(recipe, model)
