"""Metrics: what shards have counted, for Prometheus; by shard, never by worker, and read when they are scraped.

`python -m parameter_server.metrics FOLDER --port 9400` shows those of a store that runs on this machine.

Names and units follow https://prometheus.io/docs/practices/naming: counters end in `_total`, times are in seconds,
sizes in bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from parameter_server.security import local
from parameter_server.statistics import SOURCES, Histogram, Statistics
from parameter_server.store import StoreError, UnreachableError

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.metrics_core import Metric

    from parameter_server.link import Link

PATIENCE: Final = 2.0  # seconds for a shard to answer a scrape
PREFIX: Final = "nas_store_"
COARSER: Final = 2  # of so many edges of a shard's histogram Prometheus is shown one: a shard has fewer than 100 series


@final
@dataclass(frozen=True, slots=True)
class Described:
    """How one field of `Statistics` is called and explained; `kind` is that of Prometheus."""

    field: str
    name: str
    kind: str
    text: str

    @property
    def full(self) -> str:
        """The name as it is scraped."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"

    def family(self, shards: Sequence[Statistics], labels: Mapping[str, str]) -> Metric:
        """The metric with the values of these shards, which all have these `labels` beside their number."""
        name, names, same = PREFIX + self.name, [*labels, "shard"], list(labels.values())
        values = [([*same, str(one.shard)], getattr(one, self.field)) for one in shards]
        if self.kind == "histogram":
            histogram = HistogramMetricFamily(name, self.text, labels=names)
            for shard, value in values:
                histogram.add_metric(shard, buckets(value), value.total)
            return histogram
        label = LABELS.get(self.field)
        family = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        metric = family(name, self.text, labels=[*names, label] if label else names)
        for shard, value in values:
            if isinstance(value, dict):
                for kind, count in value.items():
                    metric.add_metric([*shard, kind], count)
            elif isinstance(value, str):
                for source in SOURCES:
                    metric.add_metric([*shard, source or "nothing"], float(source == value))
            else:
                metric.add_metric(shard, value)
        return metric


NONE: Final[Mapping[str, str]] = MappingProxyType({})
UP: Final = "up"
ANSWERED: Final = "1 for a shard that answered this scrape."
LABELS: Final = {"pushes": "outcome", "recovered_from": "source"}
DESCRIBED: Final = (
    Described("pushes", "pushes", "counter", "Pushes that were answered, by outcome."),
    Described("pulls", "pulls", "counter", "Pulls that were answered."),
    Described("bytes_in", "received_bytes", "counter", "Bytes of gradients that came."),
    Described("bytes_out", "sent_bytes", "counter", "Bytes of parameters that went out."),
    Described("push_seconds", "push_seconds", "histogram", "Time of a push in the shard, without waits for others."),
    Described("pull_seconds", "pull_seconds", "histogram", "Time of a pull in the shard."),
    Described("barrier_seconds", "barrier_seconds", "histogram", "Time that a push waited for a round or a bound."),
    Described("staleness", "staleness_updates", "histogram", "Updates between a push's parameters and its step."),
    Described("queue", "queue_pushes", "gauge", "Pushes that are under way."),
    Described("clients", "clients", "gauge", "Clients that hold a lease."),
    Described("leases_lapsed", "leases_lapsed", "counter", "Leases that ended because their client was not heard of."),
    Described("version", "version", "gauge", "Version of the shard's parameters."),
    Described("snapshots", "snapshots", "counter", "Snapshots that were written."),
    Described("snapshots_failed", "snapshots_failed", "counter", "Snapshots that could not be written."),
    Described("snapshot_seconds", "snapshot_seconds", "gauge", "Time that the last snapshot took."),
    Described("snapshot_bytes", "snapshot_bytes", "gauge", "Size of the last snapshot."),
    Described(
        "snapshot_timestamp", "snapshot_timestamp_seconds", "gauge", "When the last snapshot was written (Unix)."
    ),
    Described("recoveries", "recoveries", "counter", "How often the shard came back after its process had died."),
    Described("recovered_from", "recovered_from", "gauge", "1 for what the shard's parameters were recovered from."),
    Described("recovery_seconds", "recovery_seconds", "gauge", "Time of the last recovery, in the shard's process."),
)


def buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative counts by every second upper edge, the last of them of everything."""
    edges = [*(repr(float(edge)) for edge in histogram.edges), "+Inf"]
    every = [(edge, float(count)) for edge, count in zip(edges, accumulate(histogram.counts), strict=True)]
    return [*every[:-1:COARSER], every[-1]]


@final
class ShardCollector(Collector):
    """Asks `read` for the statistics of the shards that can be reached, once for every scrape."""

    def __init__(
        self, read: Callable[[], Sequence[Statistics]], shards: Collection[int], labels: Mapping[str, str]
    ) -> None:
        self.read, self.shards, self.labels = read, shards, labels

    def describe(self) -> Iterable[Metric]:
        return []  # or it would be asked for values before a store runs

    def collect(self) -> Iterator[Metric]:
        reached = self.read()
        up = GaugeMetricFamily(PREFIX + UP, ANSWERED, labels=[*self.labels, "shard"])
        answered = {one.shard for one in reached}
        for shard in self.shards:
            up.add_metric([*self.labels.values(), str(shard)], float(shard in answered))
        yield up
        for described in DESCRIBED:
            yield described.family(reached, self.labels)


def registry(
    read: Callable[[], Sequence[Statistics]], shards: int | Collection[int], labels: Mapping[str, str] = NONE
) -> CollectorRegistry:
    """A registry of its own, with nothing but these shards in it: so many, or those with these numbers."""
    made = CollectorRegistry(auto_describe=False)
    made.register(ShardCollector(read, range(shards) if isinstance(shards, int) else shards, labels))
    return made


def serve(
    read: Callable[[], Sequence[Statistics]], shards: int, port: int, host: str = "127.0.0.1"
) -> tuple[WSGIServer, Thread]:
    """Answer scrapes in a thread; end it by `shutdown` and `server_close` of what it gives. Port 0: any."""
    return start_http_server(port, addr=host, registry=registry(read, shards))


def reading(links: Sequence[Link]) -> Callable[[], Sequence[Statistics]]:
    """What asks all shards at once, and leaves out those that do not answer."""

    def ask(link: Link) -> Statistics | None:
        try:
            return link.statistics()
        except UnreachableError:
            return None

    def read() -> list[Statistics]:
        with ThreadPoolExecutor(len(links)) as threads:
            return [one for one in threads.map(ask, links) if one is not None]

    return read


def main() -> int:
    """Serve the metrics of a store until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m parameter_server.metrics", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=9400)
    parser.add_argument("--host", default="127.0.0.1", help="an address of loopback")
    arguments = parser.parse_args()
    if not local(f"{arguments.host}:{arguments.port}"):
        sys.stderr.write(
            f"{arguments.host} can be reached from other machines, and metrics there have neither a token nor TLS: "
            "leave --host out, and let them come through a tunnel, or watch the search that has the store\n"
        )
        return 2
    from parameter_server.opened import connect

    try:
        store = connect(arguments.folder, patience=PATIENCE)
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    server, thread = serve(reading(store.links), len(store.links), arguments.port, arguments.host)
    with suppress(KeyboardInterrupt):
        thread.join()
    server.server_close()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
