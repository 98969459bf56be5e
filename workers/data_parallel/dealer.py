"""Dealer: which worker learns which batch, so that each counts once, whoever dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Deal:
    """A batch that a worker is to learn; its push has this `number`, in every attempt, and no other batch has it."""

    slot: int
    number: int
    batch: int


@final
class Dealer:
    """Deals batches 0 to `count` - 1 to `slots` workers; `dealt` is what they were given before, in order.

    A worker has one batch at a time, and its pushes are numbered as it got them. What it has not been seen to finish is
    dealt to it again under the same number, so that the store knows whether it was counted. In lockstep batch n belongs
    to worker n modulo `slots`; otherwise whoever is free gets the next.
    """

    def __init__(self, count: int, slots: int, lockstep: bool, dealt: Sequence[Sequence[int]] = ()) -> None:
        self.count = count
        self.dealt = [list(dealt[slot]) if slot < len(dealt) else [] for slot in range(slots)]
        self._done = [max(len(batches) - 1, 0) for batches in self.dealt]  # the last one may not have been counted
        given = {batch for batches in self.dealt for batch in batches}
        shares = [range(slot, count, slots) for slot in range(slots)] if lockstep else [range(count)]
        self._shares = [deque(batch for batch in share if batch not in given) for share in shares]

    @property
    def finished(self) -> bool:
        return sum(self._done) == self.count

    def joined(self, slot: int, number: int) -> None:
        """The store expects this number next of a worker: where it has lost some pushes, they are dealt again."""
        self._done[slot] = min(self._done[slot], number)

    def next(self, slot: int) -> tuple[Deal, bool] | None:
        """What a worker does next, and whether that is new; None where nothing is left for it."""
        number, new = self._done[slot], False
        if number == len(self.dealt[slot]):
            share = self._shares[slot % len(self._shares)]
            if not share:
                return None
            self.dealt[slot].append(share.popleft())
            new = True
        return Deal(slot, number, self.dealt[slot][number]), new

    def counted(self, slot: int, number: int) -> None:
        """A worker's push is in the parameters."""
        assert number == self._done[slot]
        self._done[slot] += 1
