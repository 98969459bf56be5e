"""Pairs: texts to read and what is to be written for them, and where they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

Pair: TypeAlias = tuple[str, str]  # what is read, what is written


@final
@dataclass(frozen=True)
class Shares:
    """What is set aside for validation and test where the data have no such part, drawn by `seed`."""

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0


@final
@dataclass(frozen=True)
class Pairs:
    """The three parts of a data set; no source stands in two of them, unless the data themselves are so divided."""

    train: Sequence[Pair]
    validation: Sequence[Pair]
    test: Sequence[Pair]


class PairSource(ABC):
    """Where pairs come from: frozen and hashable; `stamp` changes when they do."""

    @abstractmethod
    def stamp(self) -> str:
        """Which pairs these are, cheap to ask for; raise with a remedy where there are none."""

    @abstractmethod
    def read(self, shares: Shares) -> Pairs:
        """The pairs, divided; raise with a remedy where they are not what they should be."""
