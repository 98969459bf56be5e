"""Tally: what a training that workers share has done so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import final

from workers.trial import Json


@final
@dataclass(frozen=True, slots=True)
class Learned:
    """A batch that counts: its mean loss, its examples, and how it got there.

    `staleness` is how many updates its parameters had missed when it was applied, on the shard where these were most;
    None where all shards turned out to have counted the push before. `tries` is how often it was computed.
    """

    slot: int
    number: int
    batch: int
    loss: float
    examples: int
    staleness: int | None
    tries: int = 1

    def json(self) -> dict[str, Json]:
        return asdict(self)


@final
@dataclass
class Tally:
    """Batches by their numbers; `seconds` of all sessions until now, `replaced` workers that died."""

    count: int
    per_epoch: int
    learned: dict[int, Learned] = field(default_factory=dict)
    replaced: int = 0
    seconds: float = 0.0

    @property
    def examples(self) -> int:
        return sum(one.examples for one in self.learned.values())

    @property
    def repeated(self) -> int:
        """How often a batch was computed again, because its gradient came too late or was not known to be counted."""
        return sum(one.tries - 1 or one.staleness is None for one in self.learned.values())

    @property
    def staleness(self) -> Mapping[int, int]:
        """How many pushes were how stale."""
        found = Counter(one.staleness for one in self.learned.values() if one.staleness is not None)
        return dict(sorted(found.items()))

    def loss(self, epoch: int) -> float | None:
        """The mean loss of an epoch's batches, while they were learned; None before they all were."""
        numbers = range(epoch * self.per_epoch, (epoch + 1) * self.per_epoch)
        if any(number not in self.learned for number in numbers):
            return None
        found = [self.learned[number] for number in numbers]
        return sum(one.loss * one.examples for one in found) / sum(one.examples for one in found)
