"""MemoryStore: a store in this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, final

import numpy as np

from parameter_server.clients.client import ShardedStore
from parameter_server.files.snapshot import image_bytes, image_from, image_of
from parameter_server.links.direct import DirectLink
from parameter_server.optimizers import Optimizer
from parameter_server.policy import Group, Policy
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard
from parameter_server.store import Pull, Pushed, PushId, Store, Version

if TYPE_CHECKING:
    from parameter_server.statistics import Statistics
    from parameter_server.store import Gradients, Tensors


@final
class MemoryStore(Store):
    """A store in this process; many threads may share it. An optimizer alone stands for a policy of just that.

    `shards` cuts it as a store of so many processes is cut, `patience` is how long a call may take, in seconds.
    With `images`, what `images` gave of as many shards, it goes on from there; `StoreError` where they are damaged.
    """

    def __init__(
        self, policy: Policy | Optimizer, shards: int = 1, *, patience: float = 120.0, images: Sequence[bytes] = ()
    ) -> None:
        self.policy = Policy((Group(policy),)) if isinstance(policy, Optimizer) else policy
        memories = [HeapMemory() for _ in range(shards)]
        for number, image in enumerate(images):
            image_from(np.frombuffer(image, np.uint8), f"image {number}").pour(memories[number], self.policy)
        self.shards = tuple(
            Shard(number, shards, memory, self.policy, clock=monotonic) for number, memory in enumerate(memories)
        )
        links = [DirectLink(shard, patience) for shard in self.shards]
        self._store = ShardedStore(links, patience=patience, threads=False)

    def create(self, tensors: Tensors) -> tuple[str, ...]:
        return self._store.create(tensors)

    def pull(
        self, names: Iterable[str] | None = None, newer_than: Version | None = None, into: Tensors | None = None
    ) -> Pull:
        return self._store.pull(names, newer_than, into)

    def push(self, gradients: Gradients, base: Version, push_id: PushId) -> Pushed:
        return self._store.push(gradients, base, push_id)

    def join(self, client: str, attempt: int = 0) -> int:
        return self._store.join(client, attempt)

    def beat(self, client: str, attempt: int = 0) -> None:
        self._store.beat(client, attempt)

    def leave(self, client: str, attempt: int = 0) -> None:
        self._store.leave(client, attempt)

    def statistics(self) -> tuple[Statistics, ...]:
        """What each shard has counted."""
        return self._store.statistics()

    def images(self) -> tuple[bytes, ...]:
        """The state of each shard now: tensors, what optimizers remember, versions, which pushes were counted."""
        return tuple(image_bytes(image_of(shard)) for shard in self.shards)

    def close(self) -> None:
        self._store.close()
