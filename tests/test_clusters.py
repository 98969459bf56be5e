"""A cluster for tests is a real one, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from clusters import HOST, RayCluster, can_be_namespaced, until
from conftest import Require

DRIVER = """
import ray
ray.init(log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()), ray.cluster_resources()["CPU"])
"""


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_host_that_is_interrupted_with_its_tests_still_ends_what_it_has_started(number: int) -> None:
    command = [sys.executable, HOST, "sh", "-c", "sleep 1000 & echo $! >&2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as host:
        assert host.stdin is not None
        assert host.stdout is not None
        assert host.stderr is not None
        started = int(host.stderr.readline())
        assert host.stdout.readline() == b"0\n"
        try:
            host.send_signal(number)
            assert _lives(started)
            host.stdin.close()
            assert host.wait(60) == 0
        except AssertionError:
            os.kill(started, signal.SIGKILL)
            raise
    until(lambda: not _lives(started))  # whoever takes orphans in has buried it


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("namespaces", [False, True])
def test_a_driver_sees_the_nodes_and_nothing_outlives_the_cluster(namespaces: bool, require: Require) -> None:
    if namespaces:
        require("namespaces", not can_be_namespaced(), can_be_namespaced())
    cluster = RayCluster(cpus=0, namespaces=namespaces)
    try:
        node = cluster.add_node(2)
        said = subprocess.run(
            [sys.executable, "-c", DRIVER], env=cluster.whole_environment, capture_output=True, text=True, check=False
        )
        assert said.stdout.split() == ["2", "2.0"], said.stderr
        processes = [*cluster.head.processes, *node.processes]
        assert node.raylet in processes
    finally:
        cluster.stop()
    until(lambda: not any(_lives(pid) for pid in processes))
    assert not cluster.folder.exists()
