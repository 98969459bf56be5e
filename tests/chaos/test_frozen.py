"""Processes that stand still for a while (SIGSTOP), workers and shards: nobody waits for ever, and all counts once.

Who is frozen looks to others like who is dead, but comes back: with a push that is half done, or under way, or that was
counted without its hearing of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from puppet import Puppet

from parameter_server.opened import open_store, running
from parameter_server.optimizers import SGD
from parameter_server.policy import Async, Bounded, Group, Mode, Policy, Sync
from parameter_server.processes.folder import Folder, Network, held

if TYPE_CHECKING:
    from parameter_server.clients.client import ShardedStore

LEASE = 2.0
BOUND = 30.0  # seconds that nothing takes; busy machines are no failure, and what hangs does so for `LONG`
LONG = 90.0
SHORT = 3.0
WAYS = ("shared memory", pytest.param("network", marks=pytest.mark.slow))


def stands_still(pid: int) -> bool:
    """Whether every thread is stopped, as proc(5) has it."""
    try:
        states = [one.read_text().rpartition(")")[2].split()[0] for one in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # one of them has just ended
        return False
    return set(states) == {"T"}


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that stands still, all threads of it, and goes on after."""
    os.kill(pid, signal.SIGSTOP)
    try:
        limit = time.monotonic() + 60.0
        while not stands_still(pid):  # a busy machine stops it some time after the signal
            assert time.monotonic() < limit
            time.sleep(0.001)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Crowd:
    """A store, who drives it, and its workers."""

    def __init__(self, folder: Path, mode: Mode, size: int = 3000, shards: int = 2) -> None:
        self.folder = folder / "store"
        policy = Policy((Group(SGD(1.0)),), mode, lease=LEASE)
        self.workers: list[Puppet] = []
        self.store: ShardedStore = open_store(self.folder, policy, shards=shards, processes=2, network=Network())
        self.store.create({name: np.zeros(size, np.float32) for name in "abcd"})

    def worker(self, name: str, way: str, attempt: int = 0, patience: float = LONG) -> Puppet:
        where: tuple[object, ...] = (self.folder,)
        if way == "network":
            address = Folder(self.folder).read_address()
            assert address is not None
            address = replace(address, machine="another", folder="/nowhere")
            where = (json.dumps(address.to_json()), "-", Folder(self.folder).token.read_text().strip())
        made = Puppet(name, attempt, patience, *where)
        self.workers.append(made)
        return made

    def process(self, number: int) -> int:
        found = running(self.folder)
        assert found is not None
        pid = found.processes[number]
        assert pid is not None
        return pid

    def value(self) -> float:
        """What all elements are: the negative of how often a push counted on their shard."""
        (value,) = {float(value) for array in self.store.pull().tensors.values() for value in np.unique(array)}
        return value

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.store.close()


@contextmanager
def crowd(folder: Path, mode: Mode, size: int = 3000, shards: int = 2) -> Iterator[Crowd]:
    made = Crowd(folder, mode, size, shards)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_round_goes_on_without_a_frozen_worker_once_its_lease_is_over(tmp_path: Path, way: str) -> None:
    with crowd(tmp_path, Sync(2)) as made:
        still, other = made.worker("still", way), made.worker("other", way)
        still.tell("push 0")
        assert other.ask("push 0").counted
        assert still.hear().counted
        with frozen(still.process.pid):
            still.tell("push 1")
            for number in (1, 2):
                said = other.ask(f"push {number}")
                assert said.counted, said
                assert said.seconds < BOUND
        assert still.hear().outcomes == ("late", "late")
        assert made.value() == -3


@pytest.mark.parametrize("way", WAYS)
def test_a_frozen_worker_holds_nobody_back_for_longer_than_its_lease(tmp_path: Path, way: str) -> None:
    with crowd(tmp_path, Bounded(1, "block")) as made:
        still, other = made.worker("still", way), made.worker("other", way)
        assert still.ask("push 0").counted
        assert other.ask("push 0").counted
        with frozen(still.process.pid):
            still.tell("push 1")
            for number in range(1, 6):
                said = other.ask(f"push {number}")
                assert said.counted, said
                assert said.seconds < BOUND
        assert still.hear().counted
        assert made.value() == -8


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_that_was_replaced_while_it_was_frozen_is_fenced(tmp_path: Path, way: str) -> None:
    with crowd(tmp_path, Async()) as made:
        still = made.worker("a", way)
        assert still.ask("push 0").counted
        with frozen(still.process.pid):
            still.tell("push 1")
            replacement = made.worker("a", way, attempt=1)
            assert replacement.ask("push 1").counted
        said = still.hear()
        assert said.error == "FencedError", said
        assert replacement.ask("push 2").counted
        assert made.value() == -3


def freeze_in_the_middle(made: Crowd, way: str, times: int, seed: int) -> None:
    random = Random(seed)
    still, other = made.worker("still", way), made.worker("other", way)
    assert still.ask("push 0").counted
    assert other.ask("push 0").counted
    for number in range(1, 1 + times):
        still.tell(f"push {number}")
        time.sleep(random.uniform(0, 0.03))
        with frozen(still.process.pid):
            said = other.ask(f"push {number}")
            assert said.counted, said
            assert said.seconds < BOUND
        said = still.hear()
        assert said.counted, said
    assert made.value() == -2 * (1 + times)


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_that_freezes_in_a_push_holds_nobody_up_and_counts_once(tmp_path: Path, way: str) -> None:
    with crowd(tmp_path, Async(), 300_000) as made:
        freeze_in_the_middle(made, way, 5, 1)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_workers_that_freeze_in_pushes_over_and_over_count_once(tmp_path: Path, way: str) -> None:
    with crowd(tmp_path, Async(), 1_000_000) as made:
        freeze_in_the_middle(made, way, 60, 2)


@pytest.mark.parametrize("way", WAYS)
def test_calls_to_a_frozen_shard_end_within_their_deadline_and_say_which(tmp_path: Path, way: str) -> None:
    """Four shards in two processes: what the frozen one hosts is not waited for one after the other."""
    with crowd(tmp_path, Async(), shards=4) as made:
        worker = made.worker("a", way, patience=SHORT)
        assert worker.ask("push 0").counted
        late = made.worker("b", way, patience=SHORT)
        with frozen(made.process(1)):
            late.tell("push 0")  # which has to say hello first
            said = worker.ask("push 1")
            assert said.error == "UnreachableError", said
            assert "shard 1" in said.text or "shard 3" in said.text
            assert said.seconds < 2 * SHORT
            said = late.hear()
            assert said.error == "UnreachableError", said
            assert said.seconds < 2 * SHORT
        assert worker.ask("push 1").counted
        assert late.ask("push 0").counted
        assert made.value() == -3


@pytest.mark.parametrize("way", WAYS)
def test_a_push_to_a_frozen_shard_goes_on_by_itself(tmp_path: Path, way: str) -> None:
    with crowd(tmp_path, Async()) as made:
        worker = made.worker("a", way)
        assert worker.ask("push 0").counted
        with frozen(made.process(1)):
            worker.tell("push 1")
            assert worker.silent(1.0)
        assert worker.hear().counted
        assert made.value() == -2


DRIVER = f"""
import sys, time
import numpy as np
from parameter_server.opened import open_store
from parameter_server.optimizers import SGD
from parameter_server.policy import Group, Policy
store = open_store(sys.argv[1], Policy((Group(SGD(1.0)),), lease={LEASE / 4}), shards=2, processes=2)
store.create({{name: np.zeros(300, np.float32) for name in "ab"}})
print("drives", flush=True)
sys.stdin.read()
store.close()
"""


@contextmanager
def driven(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A store whose driver is a process of its own; its lease, three of the policy's, is shorter than `LEASE`."""
    root = str(Path(__file__).parents[2])
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    try:
        assert driver.stdout.readline() == b"drives\n"
        yield driver
        driver.stdin.close()
        assert driver.wait(LONG) == 0
    finally:
        driver.kill()
        driver.wait()
        driver.stdin.close()
        driver.stdout.close()


def pids(folder: Path) -> list[int]:
    found = running(folder)
    return [] if found is None else [found.supervisor, *(pid for pid in found.processes if pid is not None)]


def until(look: Callable[[], bool]) -> None:
    limit = time.monotonic() + LONG
    while not look():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


def test_a_frozen_supervisor_replaces_who_died_meanwhile_and_drops_no_driver(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with driven(folder):
        worker = Puppet("a", 0, LONG, folder)
        try:
            assert worker.ask("push 0").counted
            supervisor, *shards = pids(folder)
            with frozen(supervisor):
                os.kill(shards[0], signal.SIGKILL)
                worker.tell("push 1")
                assert worker.silent(LEASE)  # longer than the driver's lease
            assert worker.hear().counted
            assert worker.ask("push 2").counted
            assert pids(folder)[0] == supervisor
        finally:
            worker.end()


def test_a_driver_that_was_frozen_for_longer_than_its_lease_starts_the_store_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with driven(folder) as driver:
        worker = Puppet("a", 0, LONG, folder)
        try:
            assert worker.ask("push 0").counted
            with frozen(driver.pid):
                until(lambda: not held(Folder(folder).lock))  # it has ended, with snapshots
                assert list(folder.glob("shard-*/snapshot-*"))
                worker.tell("push 1")
            said = worker.hear()
            assert said.counted, said
            assert worker.ask("pull").version == (2, 2)
        finally:
            worker.end()
