"""A cluster for tests is a real one, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from clusters import RayCluster, can_be_namespaced, until
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
