"""What becomes of a search on a Ray cluster when its driver or the cluster's head dies, and what it leaves there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster_host import descendants
from clusters import Node, RayCluster, can_be_namespaced, free_port, until
from conftest import Require

from nas.history import History
from nas.home import open_log
from workers.objectives import Outcome

ROOT = Path(__file__).parents[2]
NAS = """
import sys
import workers.pools.footing
workers.pools.footing.PATIENCE = float(sys.argv.pop(1))
from nas.__main__ import main
main()
"""
TRIAL = """
import time


def train(values):
    time.sleep(0.3)
    return values["x"]


train.decisions = {"x": __import__("search_spaces.decision").decision.Range(0.0, 1.0)}
"""


class Search:
    """A job in a folder of its own, driven by processes of the command `nas`."""

    def __init__(self, folder: Path, trials: int, **pool: Any) -> None:
        self.folder = folder
        (folder / "trial.py").write_text(textwrap.dedent(TRIAL))
        job = {
            "name": "s", "task": "trial:train", "strategy": "random", "budget": {"trials": trials},
            "final": {"top": 0}, "pool": {"name": "ray", **pool},
        }  # fmt: skip
        (folder / "job.yaml").write_text(json.dumps(job))

    @contextmanager
    def driver(
        self, *command: str, environment: Mapping[str, str], patience: float = 45.0
    ) -> Iterator[subprocess.Popen[str]]:
        driver = subprocess.Popen(
            [sys.executable, "-c", NAS, str(patience), *command], cwd=self.folder, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**environment, "NAS_HOME": str(self.folder / "home"), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            yield driver
        finally:
            driver.kill()
            driver.communicate()

    def nas(self, *command: str, environment: Mapping[str, str], limit: float = 150) -> tuple[int, str]:
        """Run a command to its end: its exit code, and what it says."""
        with self.driver(*command, environment=environment) as driver:
            said, _ = driver.communicate(timeout=limit)
        return driver.returncode, said

    def history(self) -> History | None:
        """What the journal says, once there is one."""
        if not (self.folder / "home").exists():
            return None
        with closing(open_log(str(self.folder / "home"))) as log:
            if "s" not in {header.search for header in log.searches()}:
                return None
            return History.of(log.entries("s"))

    def gets_going(self, driver: subprocess.Popen[str]) -> None:
        """Wait for three trials of a driver that lives."""
        until(lambda: self.completed() > 2 or driver.poll() is not None, "three trials")
        assert driver.poll() is None, driver.communicate()[0]

    def completed(self) -> int:
        history = self.history()
        return 0 if history is None else history.outcomes[Outcome.COMPLETED]


def idle(node: Node) -> bool:
    """Whether no actor of ours is left on a node."""
    return not [pid for pid in node.workers if "Actor" in Path(f"/proc/{pid}/cmdline").read_text()]


def alone() -> dict[str, str]:
    """An environment that names no cluster."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    made = RayCluster(cpus=2)
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_driver_and_a_finished_search_leave_no_actor_behind(cluster: RayCluster, tmp_path: Path) -> None:
    search = Search(tmp_path, 12)
    with search.driver("run", "job.yaml", environment=cluster.whole_environment) as driver:
        search.gets_going(driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    until(lambda: idle(cluster.head), "the end of the actors")
    code, said = search.nas("resume", "s", environment=cluster.whole_environment)
    assert code == 0, said
    assert search.completed() == 12
    until(lambda: idle(cluster.head), "the end of the actors")
    with cluster.joined():
        from ray._private.state import actors

        until(lambda: {actor["State"] for actor in actors().values()} <= {"DEAD"}, "the end of the broker")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_whose_head_is_lost_ends_with_an_error_and_goes_on_elsewhere(tmp_path: Path, require: Require) -> None:
    require("namespaces", not can_be_namespaced(), can_be_namespaced())
    cluster = RayCluster(cpus=0, namespaces=True, head_apart=True)
    try:
        node = cluster.add_node(2, apart=False)  # where the driver is, too
        search = Search(tmp_path, 100)
        with search.driver("run", "job.yaml", environment=cluster.whole_environment, patience=8.0) as driver:
            search.gets_going(driver)
            cluster.kill_head()
            began = time.monotonic()
            said, _ = driver.communicate(timeout=100)
        assert time.monotonic() - began < 55, "Ray has ended the process, not we"
        assert driver.returncode != 0
        assert "has not answered for" in said
        assert "nas resume" in said
        assert "Traceback" not in said
        until(lambda: idle(node), "the end of the actors")
    finally:
        cluster.stop()
    history = search.history()
    assert history is not None
    assert history.state == "failed"
    code, said = search.nas("resume", "s", "--set", "pool=local", environment=alone())
    assert code == 0, said
    assert search.completed() == 100


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_search_whose_own_head_is_killed_begins_another_cluster_and_goes_on(tmp_path: Path) -> None:
    search = Search(tmp_path, 60, slots=2)
    with search.driver("run", "job.yaml", environment=alone()) as driver:
        search.gets_going(driver)
        (head,) = [pid for pid in descendants(driver.pid) if "gcs_server" in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(head, signal.SIGKILL)
        said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    assert "a process of the Ray cluster on this machine died: begun anew" in said
    assert search.completed() == 60


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_outlives_a_head_that_comes_back_with_its_memory_in_redis(tmp_path: Path, require: Require) -> None:
    server = shutil.which("redis-server")
    require("redis", server is not None, "redis-server is not installed")
    port = free_port()
    redis = subprocess.Popen(
        [str(server), "--port", str(port), "--save", "", "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL, cwd=tmp_path
    )
    cluster = None
    try:
        cluster = RayCluster(cpus=0, environment={"RAY_REDIS_ADDRESS": f"127.0.0.1:{port}"})
        cluster.add_node(2)
        search = Search(tmp_path, 120)
        with search.driver("run", "job.yaml", environment=cluster.whole_environment) as driver:
            search.gets_going(driver)
            cluster.kill_head()
            cluster.restart_head()
            said, _ = driver.communicate(timeout=150)
        assert driver.returncode == 0, said
        assert search.completed() == 120
    finally:
        if cluster is not None:
            cluster.stop()
        redis.kill()
        redis.wait()
