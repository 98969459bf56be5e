"""The canonical order of a directed acyclic graph whose vertices may have any number of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, final

Label: TypeAlias = tuple[int, ...]
Vertex: TypeAlias = tuple[Label, Sequence[int]]  # what it is, and the vertices before it (from 1 on) that it reads
Seen: TypeAlias = tuple[tuple[int, ...], Label]  # the places of what it reads, sorted, and what it is


def canonical_order(vertices: Sequence[Vertex]) -> tuple[Seen, ...]:
    """A key that graphs share exactly when they are equal up to the order of their vertices.

    Vertices are placed one by one, the one with the smallest description first. Among those with the same description
    each is tried that has other readers than the rest, and the smallest key taken: as many tries as there are orders
    of such twins, which are rare.
    """
    readers: list[list[int]] = [[] for _ in range(len(vertices) + 1)]
    for index, (_, inputs) in enumerate(vertices, start=1):
        for source in inputs:
            readers[source].append(index)
    lacking = [0, *(len(inputs) for _, inputs in vertices)]
    ready: dict[int, Seen] = {i: ((), label) for i, (label, _) in enumerate(vertices, start=1) if not lacking[i]}
    return tuple(_Order(vertices, readers, [0] * len(lacking), lacking, ready).key())


@final
@dataclass(frozen=True, slots=True)
class _Order:
    """Some vertices have their place; `lacking` counts the inputs without one, `ready` describes what lacks none."""

    vertices: Sequence[Vertex]
    readers: Sequence[Sequence[int]]
    places: list[int]
    lacking: list[int]
    ready: dict[int, Seen]

    def key(self) -> list[Seen]:
        """The smallest list of descriptions that placing the rest can give."""
        key: list[Seen] = []
        place = max(self.places) + 1
        while self.ready:
            least = min(self.ready.values())
            twins = {tuple(self.readers[i]): i for i, description in self.ready.items() if description == least}
            key.append(least)
            if len(twins) > 1:
                rests = []
                for twin in twins.values():
                    order = self.copy()
                    order.put(twin, place)
                    rests.append(order.key())
                return key + min(rests)
            self.put(next(iter(twins.values())), place)
            place += 1
        return key

    def put(self, vertex: int, place: int) -> None:
        self.places[vertex] = place
        del self.ready[vertex]
        for reader in self.readers[vertex]:
            self.lacking[reader] -= 1
            if not self.lacking[reader]:
                label, inputs = self.vertices[reader - 1]
                self.ready[reader] = (tuple(sorted([self.places[source] for source in inputs])), label)

    def copy(self) -> _Order:
        return replace(self, places=self.places.copy(), lacking=self.lacking.copy(), ready=self.ready.copy())
