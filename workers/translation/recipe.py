"""TranslationRecipe: how generators that translate images are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, Final, final

from search_spaces.decision import Choice, Decision, Range
from search_spaces.decisions import Decisions
from workers.recipe import Recipe

OBJECTIVES: Final = ("usual", "non_saturating", "least_squares", "wasserstein_penalty")
METHODS: Final = ("pix2pix", "cyclegan", "discogan", "stargan")


@final
@dataclass(frozen=True)
class Usual:
    """What is published with a method."""

    objective: str
    cycle: float
    critic_steps: int
    buffer: int


USUAL: Final[Mapping[str, Usual]] = MappingProxyType(
    {
        "pix2pix": Usual("non_saturating", 0.0, 1, 0),
        "cyclegan": Usual("least_squares", 10.0, 1, 50),
        "discogan": Usual("non_saturating", 1.0, 1, 0),
        "stargan": Usual("wasserstein_penalty", 10.0, 5, 0),
    }
)


@dataclass(frozen=True, kw_only=True)
class TranslationRecipe(Recipe):
    """Further settings of a translation; those of `Recipe` are for generators and discriminators.

    `method` is `pix2pix` (Isola et al., CVPR 2017: pairs), `cyclegan` (Zhu et al., ICCV 2017) or `discogan` (Kim et
    al., ICML 2017: neither sees pairs, both go there and back), or `stargan` (Choi et al., CVPR 2018: any domain to any
    other). `objective` is that of discriminators; `cycle` weighs how far images come back from where they were (an
    absolute error; in `discogan` a squared one), `buffer` is how many generated images are kept to be shown to the
    discriminator again, `critic_steps` how often it steps for each step of the generator: None, and `usual`, is what is
    published with the method. `likeness` weighs the absolute error of pix2pix, `classification` the domains' cross
    entropy of stargan, `penalty` the gradient penalty. `beta1` and `beta2` are those of adam and adamw.
    """

    optimizer: str = "adam"
    learning_rate: float = 2e-4
    schedule: str = "constant"
    weight_decay: float = 0.0
    gradient_clipping: float = 0.0
    batch_size: int = 16
    method: str = "pix2pix"
    objective: str = "usual"
    likeness: float = 100.0
    cycle: float | None = None
    classification: float = 1.0
    penalty: float = 10.0
    critic_steps: int | None = None
    buffer: int | None = None
    beta1: float = 0.5
    beta2: float = 0.999

    rules: ClassVar[Mapping[str, Decision]] = MappingProxyType(
        {
            **Recipe.rules,
            "method": Choice(METHODS),
            "objective": Choice(OBJECTIVES),
            "likeness": Range(0.0, 1e6),
            "cycle": Range(0.0, 1e6),
            "classification": Range(0.0, 1e6),
            "penalty": Range(0.0, 1e6),
            "critic_steps": Range(1, 100, integer=True),
            "buffer": Range(0, 1 << 16, integer=True),
            "beta1": Range(0.0, 0.9999),
            "beta2": Range(0.0, 0.999999),
        }
    )

    @cached_property
    def decisions(self) -> Decisions:
        """What was left open, and `method` in any case: decisions of a space look at it."""
        opened = super().decisions
        fixed = {} if "method" in opened else {"method": Choice((self.method,))}
        return Decisions({**fixed, **opened}, partial=True)

    @property
    def usual(self) -> Usual:
        """What is published with the method; where a setting was given, that."""
        known = USUAL[self.method]
        return Usual(
            known.objective if self.objective == "usual" else self.objective,
            known.cycle if self.cycle is None else self.cycle,
            known.critic_steps if self.critic_steps is None else self.critic_steps,
            known.buffer if self.buffer is None else self.buffer,
        )
