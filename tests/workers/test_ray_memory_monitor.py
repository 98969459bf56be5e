"""Where a host runs out of memory Ray's monitor kills an actor: what it ran is lost, issued again, and not blamed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from clusters import RayCluster
from conftest import Require

from nas.history import History
from nas.home import open_log
from workers.objectives import Outcome

ROOT = Path(__file__).parents[2]
MB = 1_000_000
ROOM = 1_500 * MB  # beyond what is used now: for the cluster, its driver and its workers, who take a third of it
MOST = 3_000 * MB  # that the trial takes
TRIAL = """
import time
from pathlib import Path


def train(values):
    try:
        Path("eaten").touch(exist_ok=False)
    except FileExistsError:
        time.sleep(0.5)
        return values["x"]
    held = []
    while len(held) < {steps}:
        held.append(b"x" * {step})
        time.sleep(0.05)
    time.sleep(10)
    return values["x"]


train.decisions = {{"x": __import__("search_spaces.decision").decision.Range(0.0, 1.0)}}
"""


def in_bytes(name: str) -> int:
    """A line of the kernel's account of its memory."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_who_is_killed_for_the_memory_of_a_host_is_lost_and_issued_again(tmp_path: Path, require: Require) -> None:
    """The trial that eats it does so once; its neighbour may be the one that is killed."""
    (tmp_path / "trial.py").write_text(textwrap.dedent(TRIAL).format(steps=MOST // (50 * MB), step=50 * MB))
    job = {
        "name": "s", "task": "trial:train", "strategy": "random", "budget": {"trials": 12}, "final": {"top": 0},
        "baseline": 0.0, "pool": {"name": "ray", "slots": 2},
    }  # fmt: skip
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    total = in_bytes("MemTotal")
    used = total - in_bytes("MemAvailable")
    require(
        "memory", used + MOST < 0.9 * total, f"{(total - used) // MB:,} MB are free: too little to take {MOST // MB}"
    )
    monitor = {"RAY_memory_usage_threshold": f"{(used + ROOM) / total:.4f}", "RAY_memory_monitor_refresh_ms": "100"}
    cluster = RayCluster(cpus=2, environment=monitor)
    try:
        run = subprocess.run(
            [sys.executable, "-m", "nas", "run", "job.yaml"], cwd=tmp_path, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200,
            env={**cluster.whole_environment, "NAS_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    finally:
        cluster.stop()
    assert run.returncode == 0, run.stdout
    with closing(open_log(str(tmp_path / "home"))) as log:
        ends = [entry.body for entry in log.entries("s", kinds=("tell",))]
        history = History.of(log.entries("s"))
    lost = [end["error"] for end in ends if end["outcome"] == "lost"]
    assert "its worker died (OutOfMemoryError)" in lost
    assert {end["outcome"] for end in ends} == {"lost", "completed"}
    assert history.state == "finished"
    assert history.outcomes[Outcome.COMPLETED] == 12
