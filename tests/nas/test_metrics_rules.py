"""Prometheus's own tools on its configuration, the rules and the metrics; every name in a rule is a metric's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas.metrics import grafana
from nas.metrics.catalogue import CATALOGUE, TOLD, names
from nas.metrics.discovery import Target
from nas.watchers.metrics import LAST
from parameter_server.metrics import ANSWERED, DESCRIBED, LABELS, PREFIX, UP

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
STORIES = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
KNOWN = {
    **names(),
    PREFIX + UP: "gauge",
    **{one.full: one.kind for one in DESCRIBED},
}


def scraped() -> set[str]:
    """Every name that a query may begin with."""
    parts = ("_bucket", "_sum", "_count")
    plain = {name for name, kind in KNOWN.items() if kind != "histogram"}
    return plain | {name + part for name, kind in KNOWN.items() if kind == "histogram" for part in parts}


@pytest.fixture(scope="module")
def promtool(require: Any) -> str:
    found = shutil.which("promtool")
    require("prometheus", found is not None, "promtool is not installed (Debian: prometheus)")
    return str(found)


@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["check", "rules", "--lint=all", "--lint-fatal", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_prometheus_takes_what_it_is_given(command: list[str], promtool: str) -> None:
    done = subprocess.run([promtool, *command], cwd=FOLDER, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    told = {alert: {False, True} for alert in ALERTS}
    found: dict[str, set[bool]] = {alert: set() for alert in ALERTS}
    for story in STORIES:
        for one in story["alert_rule_test"]:
            found[one["alertname"]].add(bool(one["exp_alerts"]))
    assert found == told


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "watching.md").read_text(), re.MULTILINE)
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert "search" in rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"] == f"docs/watching.md#{name.lower()}"
        assert name in headings
    assert [heading for heading in headings if heading.startswith("Nas")] == list(ALERTS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_metrics_that_there_are(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\b(?:search:)?nas_[a-z_0-9:]+", rule["expr"]))
    assert named <= scraped() | RECORDED
    assert named or "up{" in rule["expr"]


def by_pod() -> dict[str, Any]:
    """How the Prometheus Operator has drivers scraped."""
    monitors = yaml.safe_load_all((ROOT / "deploy" / "kuberay" / "podmonitor.yaml").read_text())
    (endpoint,) = next(one for one in monitors if one["metadata"]["name"] == "cellwright-drivers")["spec"][
        "podMetricsEndpoints"
    ]
    return dict(endpoint)


def test_labels_that_rules_ask_for_are_given_however_a_driver_is_found() -> None:
    own = {label for one in CATALOGUE for label in one.labels} | {"search", "store", "shard", "le", *LABELS.values()}
    written = Target("a:1", "/metrics", "http", "driver", "a", "a").json("owner")["labels"]
    pods = {one["targetLabel"]: one["replacement"] for one in by_pod()["relabelings"]}
    asked = [
        (label, value)
        for rule in RULES
        for label, sign, value in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', rule["expr"])
        if sign == "=" and label not in own
    ]
    assert {label for label, _ in asked} == {"job", "role", "found"}
    for label, value in asked:
        assert pods[label] == value
        assert written.get(label, value) == value
    assert {"job", "role"} <= set(written)
    grouped = [
        label
        for rule in RULES
        for names in re.findall(r"(?:by|on) \(([\w, ]+)\)", rule["expr"])
        for label in names.split(", ")
    ]
    assert set(grouped) <= own
    told = {label for rule in ALERTS.values() for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))}
    assert told <= own


def test_series_of_a_driver_in_a_pod_go_on_with_the_next_one(promtool: str, tmp_path: Path) -> None:
    endpoint = by_pod()
    assert {"sourceLabels": ["search"], "targetLabel": "instance"} in endpoint["metricRelabelings"]
    (dropped,) = (one["regex"] for one in endpoint["metricRelabelings"] if one.get("action") == "labeldrop")
    assert set(dropped.split("|")) == {"pod", "container"}
    assert float(endpoint["interval"].removesuffix("s")) < LAST
    snake = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    relabelled = {
        prometheus: [{snake.get(key, key): value for key, value in one.items()} for one in endpoint[operator]]
        for prometheus, operator in (
            ("relabel_configs", "relabelings"),
            ("metric_relabel_configs", "metricRelabelings"),
        )
    }
    job = {"job_name": "pods", "static_configs": [{"targets": ["a:1"]}], **relabelled}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
    command = [promtool, "check", "config", "--syntax-only", "prometheus.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_in_the_docs_is_that_of_the_registry() -> None:
    text = (ROOT / "docs" / "watching.md").read_text()
    rows = re.findall(r"^\| `(nas_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    driver = [(one.full, one.kind, one.labels, one.text) for one in CATALOGUE]
    told = [(f"nas_{one.name}", one.kind, (), one.text) for one in TOLD]
    shards = [(PREFIX + UP, "gauge", ("store", "shard"), ANSWERED)]
    for one in DESCRIBED:
        label = (LABELS[one.field],) if one.field in LABELS else ()
        shards.append((one.full, one.kind, ("store", "shard", *label), one.text))
    found = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows]
    assert found == [*driver, *told, *shards]


def test_the_dashboard_is_as_its_program_writes_it() -> None:
    file = ROOT / "deploy" / "grafana" / "dashboards" / "cellwright.json"
    assert file.read_text() == grafana.text(), f"python -m nas.metrics.grafana {file.relative_to(ROOT)}"


def panels() -> list[dict[str, Any]]:
    made = grafana.dashboard()["panels"]
    inside = [panel for row in made if row["type"] == "row" for panel in row["panels"]]
    return [panel for panel in [*made, *inside] if panel["type"] != "row"]


def test_every_panel_asks_for_metrics_that_there_are_and_every_metric_has_a_panel() -> None:
    text = json.dumps(grafana.dashboard())
    asked = set(re.findall(r"\bnas_[a-z_0-9]+", text))
    assert asked <= scraped()
    own = {name if kind != "histogram" else f"{name}_bucket" for name, kind in names().items()}
    assert own <= asked
    for panel in panels():
        assert panel["datasource"]["uid"] == "${source}"
        assert panel["description"].endswith((".", "?"))
        for target in panel["targets"]:
            assert 'search="$search"' in target["expr"] or target["expr"].startswith("ray_")


def test_every_alert_that_fires_is_named() -> None:
    (query,) = (target["expr"] for panel in panels() for target in panel["targets"] if "ALERTS" in target["expr"])
    (pattern,) = re.findall(r'alertname=~"(.+?)"', query)
    assert all(re.fullmatch(pattern, alert) for alert in ALERTS)
    assert 'alertstate="firing"' in query


def test_what_is_so_now_is_not_read_from_the_past() -> None:
    """A state that a search was in an hour ago still has a series in the last six hours; an age would stand still."""
    for panel in panels():
        when = [(target["instant"], target["range"]) for target in panel["targets"]]
        assert set(when) <= {(True, False), (False, True)}
        if panel["options"].get("textMode") == "name" or "time()" in panel["targets"][0]["expr"]:
            assert when == [(True, False)], panel["title"]
        if panel["type"] == "timeseries":
            assert {one for one, _ in when} == {False}, panel["title"]
            assert panel["options"]["legend"]["showLegend"]


def test_no_panel_covers_another_and_numbers_are_unique() -> None:
    made = grafana.dashboard()["panels"]
    assert [row["title"] for row in made if row["type"] == "row"] == [row.title for row in grafana.ROWS]
    boxes: set[tuple[int, int]] = set()
    numbers = [panel["id"] for panel in [*made, *panels()] if panel not in made or panel["type"] == "row"]
    numbers += [panel["id"] for panel in made if panel["type"] != "row"]
    assert len(numbers) == len(set(numbers))
    for panel in made:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert boxes.isdisjoint(cells), panel["title"]
        assert max(x for x, _ in cells) < 24
        boxes |= cells
    lines = {panel["gridPos"]["y"] for panel in made}
    assert all((23, line) in boxes for line in lines), "a line that is not full"


def test_every_query_of_the_dashboard_is_one_that_prometheus_takes(promtool: str, tmp_path: Path) -> None:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked += [one["expr"] for one in grafana.dashboard()["annotations"]["list"]]
    plain = [one.replace("$__rate_interval", "1m").replace("$search", "a") for one in asked]
    assert not any("$" in one for one in plain)
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(plain)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
