"""LanguageRecipe: what a recipe for language models has besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from search_spaces.decision import Choice, Decision, Range
from workers.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class LanguageRecipe(Recipe):
    """Further settings of the training of a language model; `batch_size` is how many streams are read side by side.

    `activation_penalty` and `temporal_penalty` weigh the mean square of what the logits are read from, and of its
    change from one token to the next (AR and TAR of Merity, Keskar & Socher 2018, both here behind dropout).
    `random_steps` draws the length of each window around `steps`, as they do, with the learning rate in proportion.
    """

    optimizer: str = "adam"
    learning_rate: float = 0.005
    weight_decay: float = 0.0
    gradient_clipping: float = 1.0
    batch_size: int = 32
    activation_penalty: float = 0.0
    temporal_penalty: float = 0.0
    random_steps: bool = False

    rules: ClassVar[Mapping[str, Decision]] = MappingProxyType(
        {
            **Recipe.rules,
            "activation_penalty": Range(0.0, 1e3),
            "temporal_penalty": Range(0.0, 1e3),
            "random_steps": Choice((True, False)),
        }
    )
