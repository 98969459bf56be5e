"""What Prometheus is shown of shards: read back by its own parser."""

from __future__ import annotations

from dataclasses import fields
from urllib.request import urlopen

import pytest
from prometheus_client import generate_latest
from scrapes import parsed

from parameter_server.metrics import DESCRIBED, PREFIX, main, registry, serve
from parameter_server.outcome import Outcome
from parameter_server.statistics import SOURCES, Histogram, Statistics


def filled(shard: int) -> Statistics:
    """Another value in every field, so that none can stand for another."""
    made = Statistics(shard=shard)
    for number, field in enumerate(fields(Statistics), start=shard + 2):
        value = getattr(made, field.name)
        if isinstance(value, Histogram):
            for edge in value.edges:
                value.observe(edge)
            value.observe(1e6 + number)
        elif isinstance(value, dict):
            value.update({name: number * 100 + place for place, name in enumerate(value)})
        elif field.name == "recovered_from":
            made.recovered_from = SOURCES[1 + shard]
        elif field.name != "shard":
            setattr(made, field.name, type(value)(number * 1000))
    return made


@pytest.fixture
def shards() -> list[Statistics]:
    return [filled(0), filled(1)]


def test_every_field_of_the_statistics_is_exported_with_its_value(shards: list[Statistics]) -> None:
    samples, kinds = parsed(generate_latest(registry(lambda: shards, 2)).decode())
    described = {one.field: one for one in DESCRIBED}
    assert set(described) == {field.name for field in fields(Statistics)} - {"shard"}
    for one in shards:
        shard = ("shard", str(one.shard))
        for field, how in described.items():
            value, name = getattr(one, field), PREFIX + how.name
            assert kinds[name] == how.kind
            if how.kind == "histogram":
                assert samples[name + "_count", (shard,)] == sum(value.counts)
                assert samples[name + "_sum", (shard,)] == pytest.approx(value.total)
                assert samples[name + "_bucket", (("le", "+Inf"), shard)] == len(value.edges) + 1
                shown = {place: edge for place, edge in enumerate(value.edges, start=1) if place % 2}
                assert sum(sample == name + "_bucket" and shard in labels for sample, labels in samples) == 1 + len(
                    shown
                )
                for place, edge in shown.items():
                    assert samples[name + "_bucket", (("le", repr(float(edge))), shard)] == place
            elif field == "pushes":
                for outcome in Outcome:
                    assert samples[how.full, (("outcome", str(outcome)), shard)] == value[outcome]
            elif field == "recovered_from":
                assert samples[name, (shard, ("source", value))] == 1
                assert sum(samples.get((name, (shard, ("source", other))), 0) for other in SOURCES) == 1
            else:
                assert samples[how.full, (shard,)] == value


def test_every_series_is_there_from_the_start_and_none_has_a_label_for_a_worker() -> None:
    samples, _ = parsed(
        generate_latest(registry(lambda: [Statistics(shard=shard) for shard in range(20)], 20)).decode()
    )
    assert {label for _, labels in samples for label, _ in labels} == {"shard", "outcome", "source", "le"}
    assert sum(name == PREFIX + "pushes_total" for name, _ in samples) == 20 * len(Outcome)
    assert len(samples) < 100 * 20


def test_a_shard_that_does_not_answer_is_shown_as_down(shards: list[Statistics]) -> None:
    samples, _ = parsed(generate_latest(registry(lambda: shards[1:], 2)).decode())
    assert samples[PREFIX + "up", (("shard", "0"),)] == 0
    assert samples[PREFIX + "up", (("shard", "1"),)] == 1
    assert (PREFIX + "pulls_total", (("shard", "0"),)) not in samples


def test_metrics_are_not_shown_to_other_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["metrics", "folder", "--host", "0.0.0.0"])
    assert main() == 2
    assert "0.0.0.0 can be reached from other machines" in capsys.readouterr().err


def test_a_scrape_over_http_sees_what_was_counted_since_the_last(shards: list[Statistics]) -> None:
    server, thread = serve(lambda: shards, 2, 0)
    try:
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        with urlopen(url) as answer:
            before, _ = parsed(answer.read().decode())
        shards[1].pulls += 5
        with urlopen(url) as answer:
            after, _ = parsed(answer.read().decode())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    key = PREFIX + "pulls_total", (("shard", "1"),)
    assert after[key] == before[key] + 5
    assert server.server_address[0] == "127.0.0.1"
