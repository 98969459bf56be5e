"""Node: a machine of a Ray cluster, and what the cluster consists of at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True, slots=True)
class Node:
    """A machine whose raylet listens at `host` and `port`, and what it has of each resource in all."""

    id: str
    host: str
    port: int
    resources: Mapping[str, float]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Node:
        """The node that `ray.nodes()` describes."""
        host, port = record["NodeManagerAddress"], record["NodeManagerPort"]
        return cls(record["NodeID"], host, port, dict(record["Resources"]))


@final
@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes at a moment: those that can be used, and the ids of those that cannot.

    Attempts on a `draining` node are to be given back, those on a `lost` one are lost. The `silent` ones are lost too,
    though Ray still believes in them and would place actors there. A node in none of these has only just joined.
    """

    usable: tuple[Node, ...] = ()
    draining: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]], draining: frozenset[str], silent: frozenset[str]) -> Cluster:
        """What Ray says of its nodes and which of them drain, and what we know of who does not answer."""
        alive = [Node.of(record) for record in records if record["Alive"]]
        silent = silent & {node.id for node in alive}
        usable = tuple(node for node in alive if node.id not in silent and node.id not in draining)
        dead = {record["NodeID"] for record in records if not record["Alive"]}
        return cls(usable, draining - silent - dead, silent, silent | dead)

    def room(self, share: Mapping[str, float]) -> int:
        """How many attempts with a `share` of each resource the usable nodes have room for, each on one node."""
        needs = {kind: amount for kind, amount in share.items() if amount > 0}
        return sum(
            int(min(node.resources.get(kind, 0.0) / amount + 1e-9 for kind, amount in needs.items()))
            for node in self.usable
        )
