"""ImageRecipe: what a recipe for image classifiers has besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from search_spaces.decision import Choice, Decision, Range
from workers.recipe import Recipe

ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "hardswish", "tanh")
_SWITCH = Choice((True, False))
_AUTO = Choice(("auto", True, False))


@dataclass(frozen=True, kw_only=True)
class ImageRecipe(Recipe):
    """Further settings of the training of an image classifier.

    `auxiliary` weighs an auxiliary head's loss. `dropout` acts before the classifier. `crop` pads by so many pixels and
    cuts at a random place, `cutout` blanks a square of that side; None for these and `flip` is what is usual for the
    data set. `bf16` and `channels_last` are on where the device gains from them, unless they say true or false.
    """

    dropout: float = 0.0
    label_smoothing: float = 0.0
    auxiliary: float = 0.4
    activation: str = "relu"
    flip: bool | None = None
    crop: int | None = None
    cutout: int | None = None
    bf16: bool | str = "auto"
    channels_last: bool | str = "auto"

    rules: ClassVar[Mapping[str, Decision]] = MappingProxyType(
        {
            **Recipe.rules,
            "dropout": Range(0.0, 0.99),
            "label_smoothing": Range(0.0, 0.99),
            "auxiliary": Range(0.0, 10.0),
            "activation": Choice(ACTIVATIONS),
            "flip": _SWITCH,
            "crop": Range(0, 64, integer=True),
            "cutout": Range(0, 1024, integer=True),
            "bf16": _AUTO,
            "channels_last": _AUTO,
        }
    )
