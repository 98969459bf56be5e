"""A real Prometheus finds a running search and its shards by their files, through a kill of the driver and a resume."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from nas.history import History
from nas.home import open_log
from nas.metrics.catalogue import names
from nas.metrics.discovery import FOLDER
from parameter_server.metrics import DESCRIBED, PREFIX
from workers.objectives import Direction, Objective

T = TypeVar("T")
DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
PATIENCE = 60.0  # seconds, on a machine with much other work
TASK = """
import os
import time
from pathlib import Path
from search_spaces.decision import Range

HERE = Path(__file__).parent

def admitted():
    if (HERE / "open").exists():
        return True
    try:
        next(HERE.glob("ticket-*")).unlink()  # of two workers at one ticket, one is refused
    except (StopIteration, FileNotFoundError):
        return False
    return True

def train(values):
    while not admitted():
        (HERE / f"held-{os.getpid()}").touch()
        time.sleep(0.05)
    return values["x"] * values["y"]

train.decisions = {name: Range(0.0, 1.0, count=30) for name in ("x", "y")}
"""
JOB = {
    "name": "seen",
    "task": {"name": "product:train"},
    "strategy": {"name": "reinforce", "shards": 2, "batch": 3, "hidden": 4},
    "budget": {"trials": 16},
    "pool": {"name": "local", "slots": 2},
}


def until(found: Callable[[], T | None], what: str) -> T:
    """What there is at last."""
    last = time.monotonic() + PATIENCE
    while time.monotonic() < last:
        if (one := found()) is not None:
            return one
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come")


def in_a_pod(port: int) -> dict[str, Any]:
    """How the operator has drivers scraped, and only the state of their searches kept."""
    monitors = yaml.safe_load_all((DEPLOY.parent / "kuberay" / "podmonitor.yaml").read_text())
    (spec,) = (one["spec"] for one in monitors if one["metadata"]["name"] == "cellwright-drivers")
    (endpoint,) = spec["podMetricsEndpoints"]
    snake = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    relabelled = {
        kind: [{snake.get(key, key): value for key, value in one.items()} for one in endpoint[kind]]
        for kind in ("relabelings", "metricRelabelings")
    }
    state = {"source_labels": ["__name__"], "regex": "nas_search_state", "action": "keep"}
    return {
        "job_name": "cellwright/cellwright-drivers",
        "honor_labels": endpoint["honorLabels"],
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"pod": "head-1", "container": "ray-head"}}],
        "relabel_configs": relabelled["relabelings"],
        "metric_relabel_configs": [state, *relabelled["metricRelabelings"]],
    }


class Prometheus:
    """A server of its own, on loopback, which scrapes every second what the files of a home say.

    The state of the search it sees twice: at `port`, too, as the Prometheus Operator would find a driver in a pod.
    """

    def __init__(self, folder: Path, home: Path, port: int) -> None:
        self.port = free_port()
        folder.mkdir()
        shutil.copy(DEPLOY / "rules.yml", folder)
        (folder / "targets").symlink_to(home / FOLDER)
        (folder / "ray").mkdir()
        config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
        for scraped in config["scrape_configs"]:
            for files in scraped["file_sd_configs"]:
                files["refresh_interval"] = "1s"
        config["scrape_configs"].append(in_a_pod(port))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]
        with (folder / "log").open("wb") as log:
            address = f"--web.listen-address=127.0.0.1:{self.port}"
            self.process = subprocess.Popen([*command, address], cwd=folder, stdout=log, stderr=log)

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API; None while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except (URLError, ConnectionError):
            return None

    def values(self, expression: str) -> dict[str, float]:
        """What an expression gives now, by the one label that it is summed by."""
        found = (self.get("query", query=expression) or {"result": []})["result"]
        return {next(iter(one["metric"].values()), ""): float(one["value"][1]) for one in found}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def driven(home: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A driver in a process of its own, killed in the end if it still runs."""
    command = [sys.executable, "-m", "nas", *arguments, "--quiet"]
    process = subprocess.Popen(command, env={**os.environ, "NAS_HOME": str(home)}, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    watch = [{"name": "metrics", "port": free_port()}]
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**JOB, "watch": watch}))
    (tmp_path / "product.py").write_text(TASK)
    (tmp_path / "home" / FOLDER).mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def prometheus(tmp_path: Path, home: Path, require: Any) -> Iterator[Prometheus]:
    there = shutil.which("prometheus") is not None
    require("prometheus", there, "no Prometheus is installed (Debian: prometheus)")
    port = yaml.safe_load((tmp_path / "job.yaml").read_text())["watch"][0]["port"]
    server = Prometheus(tmp_path / "prometheus", home, port)
    try:
        until(lambda: server.get("status/buildinfo"), "Prometheus")
        yield server
    finally:
        server.close()


def history(home: Path) -> History:
    with closing(open_log(str(home))) as log:
        return History.of(log.entries("seen"))


def held(folder: Path) -> None:
    """Wait until both workers hold, each in a trial that has no ticket, so that nothing more ends."""
    for path in folder.glob("held-*"):
        path.unlink()
    until(lambda: len(list(folder.glob("held-*"))) == 2 or None, "a moment in which nothing happens")


def agrees(server: Prometheus, expression: str, expected: Mapping[str, float]) -> None:
    """Wait until Prometheus has scraped this."""
    seen: list[Any] = [None]

    def look() -> bool | None:
        seen[0] = server.values(expression)
        return True if seen[0] == pytest.approx(dict(expected)) else None

    try:
        until(look, expression)
    except AssertionError:
        raise AssertionError(f"{expression} is {seen[0]}, not {expected}") from None


def gone(prometheus: Prometheus) -> set[str]:
    """How drivers were found of whom an alert says, pending or firing, that they are gone."""
    named = [one["labels"] for one in (prometheus.get("alerts") or {"alerts": []})["alerts"]]
    return {one.get("found", "") for one in named if one["alertname"] == "NasDriverGone"}


@pytest.mark.slow
def test_prometheus_sees_what_the_journal_says_of_one_driver_after_the_other(
    home: Path, prometheus: Prometheus, tmp_path: Path
) -> None:
    up = "sum by (instance) (up{job='cellwright', search='seen'})"
    everybody = {"seen": 1.0, "seen/store/0": 1.0, "seen/store/1": 1.0}
    with driven(home, "run", str(tmp_path / "job.yaml")) as driver:
        agrees(prometheus, up, everybody)
        for i in range(4):
            (tmp_path / f"ticket-{i}").touch()
        until(lambda: history(home).outcomes.total() == 4 or None, "four results")
        held(tmp_path)
        compare(prometheus, history(home))
        registered(prometheus)
        linted(home, tmp_path)
        driver.kill()
        driver.wait(30)
    before = history(home).outcomes.total()
    agrees(prometheus, "sum by (instance) (up{role='driver', found=''})", {"seen": 0.0})
    until(lambda: gone(prometheus) == {"", "pod"} or None, "the alerts that the driver is gone")
    with driven(home, "resume", "seen") as driver:
        agrees(prometheus, up, everybody)
        held(tmp_path)
        agrees(prometheus, "sum by (cause) (nas_retries_total) > 0", {"returned": 2.0})
        agrees(prometheus, "sum by (search) (nas_driver_epoch)", {"seen": 2.0})
        after = history(home)
        assert after.outcomes.total() == before
        compare(prometheus, after)
        (tmp_path / "open").touch()
        assert driver.wait(PATIENCE) == 0
    assert history(home).state == "finished"
    assert os.listdir(home / FOLDER) == []
    agrees(prometheus, up, {})
    agrees(prometheus, "sum by (state) (last_over_time(nas_search_state{found='pod'}[1h])) > 0", {"finished": 1.0})
    until(lambda: gone(prometheus) == set() or None, "the end of the alerts")


def compare(server: Prometheus, history: History) -> None:
    """Values are the journal's, in which nothing happens at the moment: two trials hold."""
    ended = [record for record in history.trials.values() if record.result]
    assert len(ended) == history.outcomes.total() == 4
    agrees(server, "sum by (outcome) (nas_trials_total) > 0", {"completed": len(ended)})
    arms = dict.fromkeys(("strategy", "baseline"), 0.0)
    for record in ended:
        arms[record.arm] += 1
    agrees(server, "sum by (arm) (nas_trials_total) > 0", {arm: count for arm, count in arms.items() if count})
    goal = Objective("score", Direction.MAXIMIZE)
    (best,) = history.best(goal)
    assert best.result is not None
    agrees(server, "sum by (metric) (nas_best_objective)", {"score": best.result.metrics["score"]})
    agrees(server, "sum by (search) (nas_last_improvement_timestamp_seconds)", {"seen": best.ended_at or 0.0})
    agrees(server, "sum by (state) (nas_slots)", {"busy": 2.0, "idle": 0.0})
    agrees(server, "sum by (search) (nas_trial_duration_seconds_count)", {"seen": len(ended)})
    agrees(server, "sum by (state) (nas_search_state) > 0", {"running": 2.0})  # by file and by pod
    agrees(server, "count by (store) (nas_store_up == 1)", {"store": 2.0})
    agrees(server, "sum by (store) (nas_store_shards) > 0", {"store": 2.0})


def registered(server: Prometheus) -> None:
    """Names, kinds, the number of series, and the rules, by Prometheus's own account."""
    metadata = server.get("metadata")
    strategys = ("nas_surrogate_rank_correlation",)  # of other strategies
    kinds = {name: kind for name, kind in names().items() if name not in strategys}
    kinds |= {one.full: one.kind for one in DESCRIBED}
    found = {name: one[0]["type"] for name, one in metadata.items() if name.startswith("nas_")}
    assert found == {**kinds, PREFIX + "up": "gauge"}
    assert all(one[0]["help"] for name, one in metadata.items() if name in found)
    series = server.values("count by (instance) ({job='cellwright', __name__=~'nas_.+'})")
    assert set(series) == {"seen", "seen/store/0", "seen/store/1"}
    assert series["seen"] < 500
    assert max(series["seen/store/0"], series["seen/store/1"]) < 100
    labels = {name for one in server.get("series", **{"match[]": "{job='cellwright'}"}) for name in one}
    assert not any(name.startswith("exported_") or "trial" in name for name in labels)
    rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
    written = yaml.safe_load((DEPLOY / "rules.yml").read_text())["groups"]
    assert len(rules) == sum(len(group["rules"]) for group in written)
    until(
        lambda: (
            all(rule["health"] == "ok" for group in server.get("rules")["groups"] for rule in group["rules"]) or None
        ),
        "rules that can be evaluated",
    )


def linted(home: Path, tmp_path: Path) -> None:
    """Its tool finds nothing to say of any page."""
    (file,) = (home / FOLDER).glob("*.json")
    for group in json.loads(file.read_text()):
        with urlopen(f"http://{group['targets'][0]}{group['labels']['__metrics_path__']}", timeout=20) as answer:
            page = answer.read()
        done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert not re.search(rb'trial="|attempt="|/home/', page)
