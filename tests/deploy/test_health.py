"""The health check against a real Ray that asks for a token."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from clusters import RayCluster, until
from deployment import DEPLOY


def agent_port(cluster: RayCluster) -> str:
    """Where the head's agent answers; empty while there is none."""
    for pid in cluster.head.processes:
        told = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        if found := re.search(r"agent\.py .*--listen-port=(\d+)", told):
            return found[1]
    return ""


@pytest.mark.slow
@pytest.mark.timeout(400)  # Ray starts
def test_a_head_is_well_until_its_raylet_is_killed() -> None:
    cluster = RayCluster(cpus=1, dashboard=True)
    try:
        until(lambda: agent_port(cluster), "the agent")
        ports = {"RAY_AGENT_PORT": agent_port(cluster), "RAY_DASHBOARD_PORT": str(urlsplit(cluster.dashboard).port)}

        def health(role: str) -> int:
            environment = {**os.environ, **cluster.environment, **ports, "CELLWRIGHT_ROLE": role}
            return subprocess.run([sys.executable, DEPLOY / "healthcheck.py"], env=environment, check=False).returncode

        until(lambda: health("head") == 0, "a healthy head")
        assert health("worker") == 0
        os.kill(cluster.head.raylet, signal.SIGKILL)
        until(lambda: health("worker") == 1, "a node that is not well")
        assert health("head") == 1
    finally:
        cluster.stop()
