"""Replicas whose parameters are on shards: real processes and real gradients, children in virtual time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_tables import table
from stand_ins import FOLDER

from nas.bench.run import NAME, Contest, Contestant, run
from nas.bench.table import Key, Table, World
from nas.controllers.hosts import Hosts
from nas.controllers.learning import Learning
from nas.controllers.lstm import Array
from nas.controllers.stores import opened
from nas.driver import drive, resume, start
from nas.history import History
from nas.home import open_log
from nas.journal import Journal
from nas.log import Log
from nas.logs.memory import MemoryLog
from nas.search import search
from nas.strategies.reinforce import Reinforce
from nas.wrappers.budget import Budget, Limits
from parameter_server.opened import running
from parameter_server.store import Version
from workers.plugins import Spec
from workers.pools.simulated import Simulated
from workers.setup import Setup
from workers.trial import Attempt, Json, Result, Trial

LATEST = 1000  # a driver later than any
SMALL: dict[str, Any] = {"preset": "zoph2017", "hidden": 8, "replicas": 5, "batch": 2, "learning_rate": 0.02}


def world(options: int = 4) -> Table:
    """Three decisions; the better, the larger their sum; a training takes as many seconds as its row's place."""
    keys = product(map(str, range(options)), repeat=3)
    rows: dict[Key, list[float]] = {key: [sum(map(int, key)) / 3 / (options - 1)] for key in keys}
    return table(rows)


@dataclass
class Run:
    """A search that is over: its history, the parameters as the last batch found them, and their versions."""

    history: History
    tensors: dict[str, Array]
    version: Version


@contextmanager
def begun(folder: Path | str, known: Table, trials: int, **options: Any) -> Iterator[tuple[Reinforce, Budget]]:
    strategy = Reinforce(replace(known.setting(3), folder=str(folder)), **{**SMALL, **options})
    with closing(strategy):
        yield strategy, Budget(strategy, Limits(trials=trials), lambda: 0.0)


def searched(
    folder: Path | str, known: Table, trials: int, at: Callable[[int, Reinforce], None] | None = None, **options: Any
) -> Run:
    """A search with all children of all replicas at once; `at` hears how many were trained before each."""
    answer, trained = World(known, 3), iter(range(10**9))
    slots = options.get("replicas", SMALL["replicas"]) * options.get("batch", SMALL["batch"])
    log = MemoryLog()
    log.create(NAME, {}, {})
    with begun(folder, known, trials, **options) as (strategy, budget):

        def train(attempt: Attempt) -> Result:
            if at is not None:
                at(next(trained), strategy)
            return answer(attempt)

        pool = Simulated(Setup(NAME, Spec("table")), slots, train)
        journal = Journal(log, NAME, log.acquire(NAME), pulse=None, clock=lambda: pool.now)
        search(budget, pool, journal)
        assert strategy._shared is not None
        if isinstance(strategy._shared.placement, Hosts):
            strategy._shared.placement.close()
        pulled = strategy._shared.store.pull()
        return Run(journal.history, {name: value.copy() for name, value in pulled.tensors.items()}, pulled.version)


def killed(folder: Path, process: int) -> None:
    """`kill -9` of a process of the shards."""
    found = running(folder / "store")
    assert found is not None
    number = found.processes[process]
    assert number is not None
    os.kill(number, signal.SIGKILL)


def batches(trials: Iterable[Trial]) -> Counter[tuple[int, int]]:
    """How many children each batch of a replica has among these."""
    return Counter((trial.note["replica"], trial.note["batch"]) for trial in trials)


def lessons(found: Run, size: int = SMALL["batch"]) -> int:
    """How many batches were told in full when the last trial was asked for."""
    records = list(found.history.trials.values())
    asked = records[-1].asked_at
    told = [record.trial for record in records if record.ended_at is not None and record.ended_at <= asked]
    return sum(count == size for count in batches(told).values())


def test_shards_of_which_one_dies_learn_what_one_process_does(tmp_path: Path) -> None:
    """Bit for bit, and so nothing is lost and nothing counted twice: 40 of 80 children are trained, then it dies."""
    known, deaths = world(), []

    def at(trained: int, strategy: Reinforce) -> None:
        if trained in (40, 60):
            killed(tmp_path, trained // 20 % 2)
            deaths.append(trained)

    ours = searched(tmp_path, known, 80, at, shards=3)
    alone = searched("", known, 80)
    assert deaths == [40, 60]
    assert [r.trial for r in ours.history.trials.values()] == [
        replace(r.trial, note={**r.trial.note, "version": 3 * r.trial.note["version"]})
        for r in alone.history.trials.values()
    ]
    assert ours.version == alone.version * 3
    for name, value in alone.tensors.items():
        np.testing.assert_array_equal(ours.tensors[name], value)
    assert running(tmp_path / "store") is None


def test_hosts_that_die_with_a_shard_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    """Gradients come in any order, so the oracle is the number of batches: each shard counted every one once."""

    def at(trained: int, strategy: Reinforce) -> None:
        assert strategy._shared is not None
        hosts = strategy._shared.placement
        assert isinstance(hosts, Hosts)
        if trained == 30:
            killed(tmp_path, 0)
        pid = hosts._hosts[trained // 25 % 2].process.pid
        if trained in (30, 50) and pid is not None:
            os.kill(pid, signal.SIGKILL)

    found = searched(tmp_path, world(), 80, at, shards=3, hosts=2)
    assert found.version == (lessons(found),) * 3
    assert 30 <= lessons(found) < 40


JOB: dict[str, Json] = {
    "name": "shared",
    "task": "stand_ins:SumTask",
    "space": {"name": "stand_ins:GridSpace", "width": 30},
    "strategy": {"name": "reinforce", **SMALL, "shards": 2, "preset": None, "algorithm": "ppo", "epochs": 2},
    "pool": {"name": "simulated", "slots": 10, "answer": "controlling:answered"},
    "budget": {"trials": 30},
    "baseline": 0,
    "final": {"top": 0},
    "folder": FOLDER,
}


def ledger(log: Log, name: str) -> tuple[Version, int, list[Trial]]:
    """The versions of the shards, how many pushes their ledgers have, and the trials of the search."""
    trials = [r.trial for r in History.of(log.entries(name)).trials.values() if "batch" in r.trial.note]
    learning = Learning(algorithm="ppo", epochs=2, learning_rate=SMALL["learning_rate"])
    with closing(opened(str(Path(str(log.folder)) / name / "store"), 2, learning, LATEST)) as store:
        pushed = sum(store.join(f"replica-{replica}.{lane}", LATEST) for replica in range(5) for lane in range(10))
        return store.pull().version, pushed, trials


def test_the_next_driver_adopts_the_shards_and_counts_nothing_again() -> None:
    with closing(open_log()) as log:
        name = start(JOB, log)
        assert drive(name, log).state == "finished"
        assert resume(name, log, {"budget": {"trials": 60}}).state == "finished"
        assert running(Path(str(log.folder)) / name / "store") is None
        version, pushed, trials = ledger(log, name)
    versions = [trial.note["version"] for trial in trials]
    assert len(versions) == 60
    assert versions[30] > versions[29]  # they went on where they were
    assert versions[30:] == sorted(versions[30:])
    full = sum(count == SMALL["batch"] for count in batches(trials).values())
    assert version == (pushed, pushed)  # the numbers of each lane have no gap, and none counted twice
    assert 2 * (full - 10) <= pushed <= 2 * full  # ten children were under way at the last ask


def test_a_driver_that_is_killed_leaves_its_shards_to_the_next() -> None:
    """It dies when one shard has counted a push, the other has not, and what the push is made of is not written."""
    code = f"""
import itertools, os, signal, sys, time
sys.path.insert(0, {FOLDER!r})
from nas.driver import drive, start
from nas.home import open_log
from parameter_server.links.same_machine import SameMachineLink
begin, calls = SameMachineLink.begin_together, itertools.count(1)
def dying(self, pushes):
    number = next(calls)
    if number > 15:
        time.sleep(60)
    end = begin(self, pushes)
    if number == 15:
        end()
        os.kill(os.getpid(), signal.SIGKILL)
    return end
SameMachineLink.begin_together = dying
log = open_log()
drive(start({JOB!r}, log), log)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    with closing(open_log()) as log:
        name = str(JOB["name"])
        folder = Path(str(log.folder)) / name / "store"
        there = running(folder)
        assert there is not None
        assert drive(name, log, force=True).state == "finished"
        version, pushed, trials = ledger(log, name)
    assert len(trials) == 30
    full = sum(count == SMALL["batch"] for count in batches(trials).values())
    assert version == (pushed, pushed)
    assert 2 * (full - 10) <= pushed <= 2 * full


def test_a_bench_needs_no_folder() -> None:
    contestant = Contestant("reinforce", {**SMALL, "shards": 2}, bare=True)
    plain = Contestant("reinforce", SMALL, bare=True)
    assert run(world(), contestant, Contest(20, 10), 1) == run(world(), plain, Contest(20, 10), 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_published_topology(tmp_path: Path) -> None:
    """20 shards, 100 replicas of 8 children each, 800 children at once; processes die on the way."""

    def at(trained: int, strategy: Reinforce) -> None:
        if trained % 800 == 799:
            killed(tmp_path / str(hosts), trained // 800 % 2)

    preset: dict[str, Any] = {"hidden": 35, "replicas": 100, "batch": 8, "shards": 20}
    for hosts in (0, 2):
        found = searched(tmp_path / str(hosts), world(8), 4000, at, hosts=hosts, **preset)
        assert found.version == (lessons(found, 8),) * 20
        assert lessons(found, 8) >= 400 - 100
        ended = sorted(record.ended_at or 0.0 for record in found.history.trials.values())
        begun = sorted(record.asked_at for record in found.history.trials.values())
        at_once = max(place + 1 - bisect_right(ended, moment) for place, moment in enumerate(begun))
        assert at_once == 800
