"""Allowance: how many slots a pool may have of those that it wants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from workers.pools.waiting import Lack


class Allowance(ABC):
    """Asked at each survey of a pool, some once a second; must not wait for anybody."""

    @abstractmethod
    def granted(self, wanted: int, room: int, held: int, busy: int) -> int:
        """How many slots the pool may have now, where it wants `wanted` and the cluster has room for `room` in all.

        It has `held`, of which `busy` run attempts, or have not come up yet. Slots beyond what is granted are given
        back: idle ones at once, busy ones when what they run has ended.
        """

    def lack(self) -> Lack | None:
        """Why it grants no slot at all, where that is its doing."""
        return None

    def close(self) -> None:
        """The pool needs no slots any more. May be called twice."""


@final
class Unlimited(Allowance):
    """As many as are wanted."""

    def granted(self, wanted: int, room: int, held: int, busy: int) -> int:
        return wanted
