"""A store's folder that is removed under its processes: the next store there has nothing of them, and they end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from parameter_server.opened import Running, connect, open_store, running
from parameter_server.optimizers import SGD
from parameter_server.policy import Group, Policy
from parameter_server.store import PushId

PATIENCE = 60.0  # seconds; far above what anything takes
LEASE = 1.0
POLICY = Policy((Group(SGD(1.0)),), lease=LEASE)
ONES = np.ones(500, np.float32)
DRIVER = f"""
import sys, time
import numpy as np
from parameter_server.opened import open_store
from parameter_server.optimizers import SGD
from parameter_server.policy import Group, Policy
from parameter_server.store import PushId
store = open_store(sys.argv[1], Policy((Group(SGD(1.0)),), lease={LEASE}), shards=2, processes=2)
store.create({{name: np.full(500, 7, np.float32) for name in "ab"}})
store.push({{name: np.ones(500, np.float32) for name in "ab"}}, (0, 0), PushId("old", 0))
print("drives", flush=True)
time.sleep(600)
"""


def until(look: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether a process is there, and not only what is left of one that nobody waited for."""
    asked = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip()[:1] not in ("", "Z")


@contextmanager
def abandoned(folder: Path) -> Iterator[Running]:
    """The processes of a store whose driver was killed."""
    root = str(Path(__file__).parents[2])
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, folder],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
    )
    pids: list[int] = []
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"drives\n"
        found = running(folder)
        assert found is not None
        pids += [found.supervisor, *(pid for pid in found.processes if pid is not None)]
        driver.kill()
        yield found
        until(lambda: not any(map(runs, pids)))
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close() if driver.stdout is not None else None
        for pid in filter(runs, pids):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("killed", [True, False], ids=["supervisor killed", "supervisor there"])
def test_a_store_in_the_place_of_a_removed_one_has_nothing_of_it(tmp_path: Path, killed: bool) -> None:
    folder = tmp_path / "store"
    with abandoned(folder) as old:
        shutil.rmtree(folder)
        if killed:
            os.kill(old.supervisor, signal.SIGKILL)
        store = open_store(folder, POLICY, shards=2, processes=2)
        try:
            assert set(store.create(dict.fromkeys("ab", ONES))) == {"a", "b"}
            new = running(folder)
            assert new is not None
            assert not {new.supervisor, *new.processes} & {old.supervisor, *old.processes}
            until(lambda: not any(runs(pid) for pid in (old.supervisor, *old.processes) if pid is not None))
            assert not list(folder.glob("shard-*/snapshot-*"))  # the old ones would have written theirs here
            worker = connect(folder)
            assert worker.push(dict.fromkeys("ab", ONES), worker.pull().version, PushId("new", 0)).counted
            assert {float(one) for tensor in worker.pull().tensors.values() for one in tensor} == {0.0}
            worker.close()
            assert running(folder) == new
        finally:
            store.close()
