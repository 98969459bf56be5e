"""Exposition: the values of a driver in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from nas.metrics.catalogue import CATALOGUE, PREFIX, TOLD, Metric
from nas.metrics.readings import Readings
from nas.timing import Spans
from parameter_server.metrics import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.metrics_core import Metric as Family

    from nas.metrics.readings import Value
    from parameter_server.statistics import Statistics


@final
class DriverCollector(Collector):
    """Every metric of one driver, each series labelled with its search."""

    def __init__(self, readings: Readings) -> None:
        self.readings = readings

    def describe(self) -> Iterable[Family]:
        return []  # or it would be asked for values before the first turn

    def collect(self) -> Iterator[Family]:
        values = self.readings.values()
        for metric in CATALOGUE:
            yield family(metric, self.readings.search, values[metric.name])
        for told in TOLD:
            if told.name in values:
                yield family(Metric(told.name, told.kind, told.text), self.readings.search, values[told.name])


def family(metric: Metric, search: str, series: Sequence[tuple[tuple[str, ...], Value]]) -> Family:
    """A metric with its series, in the library's words."""
    names = ["search", *metric.labels]
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(PREFIX + metric.name, metric.text, labels=names)
        for labels, value in series:
            assert isinstance(value, Spans)
            histogram.add_metric([search, *labels], buckets(value), value.total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    made = kind(PREFIX + metric.name, metric.text, labels=names)
    for labels, value in series:
        assert not isinstance(value, Spans)
        made.add_metric([search, *labels], value)
    return made


def buckets(spans: Spans) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound, the last of them of everything."""
    bounds = [*(repr(bound) for bound in spans.bounds), "+Inf"]
    return [(bound, float(count)) for bound, count in zip(bounds, accumulate(spans.counts), strict=True)]


def of_driver(readings: Readings) -> bytes:
    """What a scrape of a driver is answered."""
    made = CollectorRegistry(auto_describe=False)
    made.register(DriverCollector(readings))
    return generate_latest(made)


def of_shard(search: str, store: str, shard: int, found: Sequence[Statistics]) -> bytes:
    """What a scrape of one shard is answered, `found` being empty where the shard is not."""
    return generate_latest(registry(lambda: found, [shard], {"search": search, "store": store}))
