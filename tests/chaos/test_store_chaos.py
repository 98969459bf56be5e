"""`kill -9` of shards at every moment of a push and of a snapshot, and of workers: nothing lost, nothing twice.

The oracle is what the workers wrote down: every push that they sent was answered in the end, with its place in the
order; replayed in this order by plain arithmetic, they give the parameters bit for bit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pytest
from store_worker import SIZE, TENSORS, entries, gradients

from parameter_server.opened import open_store
from parameter_server.optimizers import SGD
from parameter_server.policy import Async, Group, Mode, Policy, Sync

if TYPE_CHECKING:
    from parameter_server.clients.client import ShardedStore
    from parameter_server.store import Array

HERE = Path(__file__).parent
MOMENTS = ("before apply", "inside apply", "after apply", "after commit", "inside snapshot")
WORKERS = ("A", "B", "C")
ROUNDS = int(os.environ.get("CELLWRIGHT_CHAOS_ROUNDS", "31"))  # of the long test; six deaths in each
RATE = 0.5  # a power of two, so that a fused multiply-add rounds as two operations do


@final
class Chaos:
    """A store in two processes, three workers, and who kills them."""

    def __init__(self, folder: Path, store: ShardedStore, random: Random) -> None:
        self.folder = folder
        self.store = store
        self.random = random
        self.kills: Counter[str] = Counter()
        self.attempts = dict.fromkeys(WORKERS, 0)
        self.workers = {name: self.work(name) for name in WORKERS}

    def work(self, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(HERE / "store_worker.py"), str(self.folder), name, str(self.attempts[name])]
        path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})

    def kill_a_shard(self, moment: str) -> None:
        """Have a shard die at its next `moment`, and wait until it did."""
        order = self.folder / "store" / f"shard-{self.random.randrange(2)}" / f"die {moment}"
        order.touch()
        if moment == "inside snapshot":
            self.store.snapshot()  # goes on with the shard that takes the place of the dead one
        until = time.monotonic() + 60
        while order.exists():
            assert time.monotonic() < until, f"no shard came {moment} for a minute"
            time.sleep(0.005)
        self.kills[moment] += 1

    def kill_a_worker(self) -> None:
        name = self.random.choice(WORKERS)
        self.workers[name].kill()
        assert self.workers[name].wait() == -9, "a worker had ended by itself"
        self.kills["worker"] += 1
        self.attempts[name] += 1
        self.workers[name] = self.work(name)

    def stop(self) -> None:
        """Let the workers have answers to all that they sent, and end."""
        (self.folder / "stop").touch()
        for worker in self.workers.values():
            assert worker.wait(100) == 0


@contextmanager
def chaos(folder: Path, mode: Mode, seed: int) -> Iterator[Chaos]:
    # A lease is longer than a worker takes to start again: rounds wait for who died, so that all are of three.
    policy = Policy((Group(SGD(RATE)),), mode, lease=20.0)
    store = open_store(folder / "store", policy, shards=2, processes=2)
    running = None
    try:
        store.create({name: np.zeros(SIZE, np.float32) for name in TENSORS})
        running = Chaos(folder, store, Random(seed))
        yield running
    finally:
        for worker in running.workers.values() if running else ():
            worker.kill()
            worker.wait()
        store.close()


def check(done: Chaos) -> int:
    """Compare the parameters with what the workers were told; gives the number of pushes."""
    final = done.store.pull()
    told: dict[str, dict[int, Any]] = {name: {} for name in WORKERS}
    for name in WORKERS:
        sent = set()
        for entry in entries(done.folder / f"{name}.ledger"):
            sent.add(entry["number"])
            if "version" in entry:
                told[name][entry["number"]] = entry
        assert sent == set(told[name]), "a push was sent and never answered"
        assert sent == set(range(len(sent)))
    for shard, link in enumerate(done.store.links):
        rounds: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for name in WORKERS:
            for number, entry in told[name].items():
                if entry["outcomes"][shard] in ("applied", "duplicate"):
                    rounds[entry["version"][shard]].append((name, number))
        assert sorted(rounds) == list(range(1, final.version[shard] + 1)), "a version nobody made, or one is missing"
        for piece in link.hello("", 0).pieces:
            if piece.name in TENSORS and piece.size:
                np.testing.assert_array_equal(final.tensors[piece.name], replayed(piece.name, rounds))
    return sum(len(of) for of in told.values())


def replayed(tensor: str, rounds: dict[int, list[tuple[str, int]]]) -> Array:
    """The tensor after all rounds, each the mean of its pushes, by plain arithmetic."""
    now: Array = np.zeros(SIZE, np.float32)
    for version in sorted(rounds):
        total = np.zeros(SIZE, np.float32)
        for name, number in sorted(rounds[version]):
            total += gradients(name, number)[tensor]
        now = now - np.float32(RATE) * (total / np.float32(len(rounds[version])))
    return now


def rage(running: Chaos, rounds: int) -> None:
    """Kill at every moment `rounds` times, and as many workers as rounds."""
    for _ in range(rounds):
        for moment in running.random.sample(MOMENTS, len(MOMENTS)):
            running.kill_a_shard(moment)
            time.sleep(running.random.uniform(0, 0.3))
        running.kill_a_worker()


@pytest.fixture(autouse=True)
def _faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLWRIGHT_STORE_FAULTS", "1")


@pytest.mark.timeout(170)
@pytest.mark.parametrize("mode", [Async(), Sync(3)], ids=["async", "sync"])
def test_a_few_deaths_lose_nothing_and_repeat_nothing(tmp_path: Path, mode: Mode) -> None:
    with chaos(tmp_path, mode, 1) as running:
        rage(running, 6)
        running.stop()
        assert running.kills.total() == 36
        assert check(running) > 36


@pytest.mark.slow
@pytest.mark.timeout(1200 + 20 * ROUNDS)
@pytest.mark.parametrize("mode", [Async(), Sync(3)], ids=["async", "sync"])
def test_hundreds_of_deaths_lose_nothing_and_repeat_nothing(tmp_path: Path, mode: Mode) -> None:
    with chaos(tmp_path, mode, 2) as running:
        rage(running, ROUNDS)
        running.stop()
        pushes = check(running)
        assert min(running.kills[moment] for moment in MOMENTS) >= ROUNDS
        sys.stderr.write(f"{type(mode).__name__}: {dict(running.kills)}, {pushes} pushes, none lost, none twice\n")
