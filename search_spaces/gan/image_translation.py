"""Generators that translate images, and discriminators that judge patches of them.

Decisions:

| name | value | active |
|---|---|---|
| `pairs` | 2: there and back; where it is not active, one generator with its discriminator | `method` goes back |
| `conditional` | whether the discriminator also sees what an image was made from | `method` is `pix2pix` |
| `generator` | `unet`, `encoder_decoder` (a U-Net without its skips), or `residual` | |
| `depth` | how often a U-Net halves the image; only there with `depths` | `generator` is none of `residual` |
| `blocks` | residual blocks | `generator` is `residual` |
| `width`, `discriminator_width` | filters of the first layer | |
| `discriminator_layers` | convolutions with stride 2; only there with that option | |
| `norm` | `batch`, `instance`, or `none` | |
| `dropout` | the probability to drop an element of an inner map | |

`method` is a decision of the task; `cyclegan` and `discogan` go back. What a task calls domains (StarGAN) are further
planes of the generator's input, and a second answer of the discriminator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

from search_spaces.decision import Choice, Decision, DecisionError, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.gan.options import named, rising
from search_spaces.gan.translation_counts import WIDEST, described
from search_spaces.space import Blueprint, Description, Signature, Space, UnfitError, require

GENERATORS: Final = ("unet", "encoder_decoder", "residual")
NORMS: Final = ("batch", "instance", "none")
THERE_AND_BACK: Final = ("cyclegan", "discogan")
LEAST = 6  # pixels of a side, so that inner maps can be mirrored and normalised, and a patch is left to judge
SMALL = 16  # pixels: what is smaller is halved once; norms of 2x2 maps grow rounding errors thirtyfold (in 9 blocks)
PUBLISHED = {"patch": 3, "domain": 6}  # layers of the discriminators


@final
@dataclass(frozen=True)
class ImageTranslationSpace(Space):
    """Generators and discriminators of pix2pix, CycleGAN, DiscoGAN and StarGAN.

    - `generators`, `norms`: what to choose from, out of `GENERATORS`, `NORMS`.
    - `depths`: of a U-Net; none: as often as the image can be halved, down to one pixel, as published.
    - `blocks`, `widths`, `discriminator_widths`: rising numbers to choose from.
    - `discriminator_layers`: none: as published (3, with domains 6), or as many as the image takes.
    - `conditional`: whether a discriminator also sees what an image was made from; several to choose from.
    - `dropouts`: probabilities.
    """

    generators: Sequence[str] = ("unet", "residual")
    depths: Sequence[int] = ()
    blocks: Sequence[int] = (3, 6, 9)
    widths: Sequence[int] = (16, 32, 64)
    discriminator_widths: Sequence[int] = (16, 32, 64)
    discriminator_layers: Sequence[int] = ()
    norms: Sequence[str] = ("batch", "instance")
    conditional: Sequence[bool] = (True,)
    dropouts: Sequence[float] = (0.0, 0.5)

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        named("generators", self.generators, GENERATORS)
        named("norms", self.norms, NORMS)
        for name in ("depths", "blocks", "widths", "discriminator_widths", "discriminator_layers"):
            if getattr(self, name) or name not in ("depths", "discriminator_layers"):
                rising(name, getattr(self, name))
        if self.depths and self.depths[0] < 2:
            raise DecisionError(
                "depths has 1, but a U-Net with a skip halves an image twice at least: name larger ones"
            )
        for name in ("conditional", "dropouts"):
            if not getattr(self, name):
                raise DecisionError(f"{name} is empty, but needs a value: name at least one")
        if wrong := [one for one in self.dropouts if not 0 <= one < 1]:
            raise DecisionError(f"dropouts has {wrong[0]}, but what is dropped is at least 0 and below 1")

    @cached_property
    def decisions(self) -> Decisions:
        table: dict[str, Decision] = {
            "pairs": Choice((2,), When.among("method", *THERE_AND_BACK)),
            "conditional": Choice(tuple(self.conditional), When.equals("method", "pix2pix")),
            "generator": Choice(tuple(self.generators)),
        }
        if self.depths:
            among = When.among("generator", "unet", "encoder_decoder")
            table["depth"] = Choice(tuple(self.depths), among, ordered=True)
        table["blocks"] = Choice(tuple(self.blocks), When.equals("generator", "residual"), ordered=True)
        table["width"] = Choice(tuple(self.widths), ordered=True)
        table["discriminator_width"] = Choice(tuple(self.discriminator_widths), ordered=True)
        if self.discriminator_layers:
            table["discriminator_layers"] = Choice(tuple(self.discriminator_layers), ordered=True)
        table["norm"] = Choice(tuple(self.norms))
        table["dropout"] = Choice(tuple(self.dropouts), ordered=list(self.dropouts) == sorted(set(self.dropouts)))
        return Decisions(table, partial=True)

    def check(self, signature: Signature) -> None:
        told = {"domain": 0} if "domain" in signature.inputs else {}
        require(self, signature, "image_translation", {"image": 3, **told}, {"translated": 3})
        (_, *size), (_, *given) = signature.inputs["image"], signature.outputs["translated"]
        side = min(size)
        if size != given:
            raise UnfitError(
                f"images of {size} are to become images of {given}, but these networks keep height and width: "
                "choose another space or task"
            )
        if side < LEAST:
            raise UnfitError(f"images of {size[0]}x{size[1]} are too small: a side must have at least {LEAST} pixels")
        if self.depths and self.depths[-1] > halvings(side):
            raise UnfitError(
                f"depths has {self.depths[-1]}, but images of {size[0]}x{size[1]} can be halved {halvings(side)} "
                "times: name smaller depths"
            )
        most = most_layers(side, bool(told))
        if self.discriminator_layers and self.discriminator_layers[-1] > most:
            raise UnfitError(
                f"discriminator_layers has {self.discriminator_layers[-1]}, but images of {size[0]}x{size[1]} leave "
                f"something to judge behind {most} at most: name fewer"
            )

    def arguments(self, candidate: Candidate, signature: Signature) -> dict[str, Any]:
        """What the network of `candidate` is built with."""
        image, result = (list(signature.inputs["image"]), list(signature.outputs["translated"]))
        domains = signature.vocabularies["domain"] if "domain" in signature.inputs else 0
        norm = "affine" if domains and candidate["norm"] == "instance" else candidate["norm"]
        inner: dict[str, Any] = {"norm": norm, "dropout": candidate["dropout"], "domains": domains}
        kind, width = "residual" if candidate["generator"] == "residual" else "unet", int(candidate["width"])
        if kind == "residual":
            halved = 2 if min(image[1:]) >= SMALL else 1
            inner |= {"widths": [width * 2**place for place in range(halved + 1)], "blocks": candidate["blocks"]}
        else:
            depth = int(candidate.get("depth", halvings(min(image[1:]))))
            widths = [width * min(2**place, WIDEST) for place in range(depth)]
            inner |= {"widths": widths, "skips": candidate["generator"] == "unet"}
        fitting = min(PUBLISHED["domain" if domains else "patch"], most_layers(min(image[1:]), bool(domains)))
        judge = {
            "width": candidate["discriminator_width"],
            "layers": candidate.get("discriminator_layers", fitting),
        }
        found: dict[str, Any] = {"kind": kind, "generator": {"image": image, "outputs": result[0], **inner}}
        if domains:
            found["discriminator"] = {"inputs": result[0], **judge, "domains": domains, "size": result[1:]}
            return found
        seen = result[0] + (image[0] if candidate.get("conditional", False) else 0)
        found["discriminator"] = {"inputs": seen, **judge, "norm": norm}
        if candidate.get("pairs", 1) == 2:
            found["back"] = {"image": result, "outputs": image[0], **inner}
            found["back_discriminator"] = {"inputs": image[0], **judge, "norm": norm}
        return found

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        self.check(signature)
        network = "search_spaces.gan.translation_network:TranslationNetwork"
        return Blueprint(network, self.arguments(candidate, signature))

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        return described(self.arguments(candidate, signature))


def halvings(side: int) -> int:
    """How often an image can be halved, odd pixels left out."""
    return side.bit_length() - 1


def most_layers(side: int, domains: bool) -> int:
    """Convolutions with stride 2 behind which a discriminator has something left to judge."""
    return halvings(side) if domains else halvings(side // 3)
