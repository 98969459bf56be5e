"""Allowance: how many slots a pool may have of those that it wants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final


class Allowance(ABC):
    """Asked at each survey of a pool, some once a second; must not wait for anybody."""

    @abstractmethod
    def granted(self, wanted: int, held: int, busy: int) -> int:
        """How many slots the pool may have now, where it wants `wanted`, has `held`, and `busy` of them run attempts.

        Slots beyond are given back: idle ones at once, busy ones when what they run has ended.
        """


@final
class Unlimited(Allowance):
    """As many as are wanted."""

    def granted(self, wanted: int, held: int, busy: int) -> int:
        return wanted
