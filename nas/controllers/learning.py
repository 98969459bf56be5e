"""Learning: how a controller is built and taught; the two published ways by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from nas.controllers.rewards import REWARDS
from workers.errors import UserError

ALGORITHMS = ("ppo", "reinforce")


@final
@dataclass(frozen=True, kw_only=True)
class Learning:
    """`layers` of `hidden` LSTM units, drawn from U(-`initial`, `initial`), taught by Adam after `batch` children.

    `shared` is for decisions that differ only in numbers (`nas.controllers.controller`). `epochs` and `clip` are PPO's,
    as in its paper; `entropy` is the weight of the entropy in nats, `baseline` that of the past in the moving average.
    The learning rate without a preset is that of ENAS (Pham et al. 2018), for a search has hundreds of updates, not
    tens of thousands: in three synthetic worlds the best of 50 candidates was then better than with 0.001, by 0.14
    standard deviations of a random one, and the best of 300 equal. Raises `UserError` for what cannot be.
    """

    algorithm: str = "ppo"
    reward: str = "rank"
    layers: int = 1
    hidden: int = 100
    shared: bool = False
    initial: float = 0.1
    temperature: float = 1.0
    tanh_constant: float = 0.0
    learning_rate: float = 3.5e-3
    entropy: float = 1e-2
    baseline: float = 0.95
    batch: int = 10
    epochs: int = 10
    clip: float = 0.2

    def __post_init__(self) -> None:
        _one_of("algorithm", self.algorithm, ALGORITHMS)
        _one_of("reward", self.reward, REWARDS)
        for name in ("layers", "hidden", "batch", "epochs"):
            _holds(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("initial", "temperature", "learning_rate", "clip"):
            _holds(name, getattr(self, name), getattr(self, name) > 0, "above 0")
        for name in ("tanh_constant", "entropy"):
            _holds(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        _holds("baseline", self.baseline, 0 <= self.baseline < 1, "at least 0 and below 1")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{name} is {value!r}, but strategy reinforce knows {', '.join(known)}")


def _holds(name: str, value: float, holds: bool, rule: str) -> None:
    if not holds:
        raise UserError(f"{name} is {value}, but strategy reinforce needs {rule}")


PRESETS: Mapping[str, Learning] = MappingProxyType(
    {
        "zoph2017": Learning(
            algorithm="reinforce",
            reward="cubed",
            layers=2,
            hidden=35,
            shared=True,
            initial=0.08,
            learning_rate=6e-4,
            entropy=0.0,
            batch=8,
            epochs=1,
        ),
        "nasnet2018": Learning(
            reward="plain", layers=1, hidden=100, initial=0.1, learning_rate=3.5e-4, entropy=1e-5, batch=20
        ),
    }
)
