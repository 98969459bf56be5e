"""Statistics: what a shard has counted and measured since it started; its metrics and the status page read this."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, final

from parameter_server.outcome import Outcome

SECONDS = tuple(1e-4 * 2**step for step in range(18))  # upper edges of buckets, 0.1 ms to 13 s
SOURCES = (
    "",
    "arena",
    "snapshot",
    "snapshot and log",
    "previous snapshot",
    "previous snapshot and log",
    "log",
)  # "": empty
STALENESS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)


@final
@dataclass(slots=True)
class Histogram:
    """Counts of values at most as large as each edge, in order, and of all; not cumulative."""

    edges: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.edges) + 1)

    def observe(self, value: float) -> None:
        from bisect import bisect_left

        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value


@final
@dataclass(slots=True)
class Statistics:
    """Counters start at 0 with the process; gauges are of now. Seconds, bytes, and updates for staleness."""

    shard: int = 0
    pushes: dict[str, int] = field(default_factory=lambda: {str(outcome): 0 for outcome in Outcome})
    pulls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    push_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    pull_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    barrier_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    staleness: Histogram = field(default_factory=lambda: Histogram(STALENESS))
    queue: int = 0
    clients: int = 0
    leases_lapsed: int = 0
    version: int = 0
    snapshots: int = 0
    snapshots_failed: int = 0
    snapshot_seconds: float = 0.0
    snapshot_bytes: int = 0
    snapshot_timestamp: float = 0.0
    recoveries: int = 0  # after a process of this shard was killed; of all processes that it ever had
    recovered_from: str = ""  # one of SOURCES
    recovery_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Statistics:
        histograms = {
            name: Histogram(tuple(value["edges"]), value["counts"], value["total"])
            for name, value in data.items()
            if isinstance(value, dict) and "edges" in value
        }
        return cls(**(data | histograms))
