"""The Ray pool on hosts that vanish, freeze, drain, join and come back: real raylets, each in a network of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from clusters import Node, RayCluster, can_be_namespaced, freeze, thaw, until
from conftest import Require

from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pool import Event, Notice, Slots
from workers.pools.ray import Ray
from workers.setup import Setup
from workers.trial import Attempt, Result, Trial

Record = Callable[[str, object], None]  # into the file of `pytest --junitxml`, in seconds
NOTICED = 30.0  # seconds; some six are promised, and machines are busy; Ray itself takes a minute
TRAINING = '''
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from search_spaces.decisions import Decisions
from search_spaces.space import Signature
from workers.objectives import Direction, Objective
from workers.task import Epoch, State, Task


@dataclass(frozen=True)
class Training(Task):
    """Epochs of a tenth of a second until a gate opens; then it writes down which attempt it was."""

    decisions = Decisions()
    signature = Signature("none")
    objectives = (Objective("score", Direction.MAXIMIZE),)
    epochs = 100_000

    def train(self, model, trial, state) -> Iterator[Epoch]:
        folder = Path(trial.candidate["folder"])
        done = 0 if state is None else state.epoch
        (folder / f"{trial.id}-{os.getpid()}").write_text(str(done))
        while not (folder / f"gate-{trial.id}").exists():
            time.sleep(0.1)
            done += 1
            yield Epoch({"score": float(done)}, State(done))
        (folder / f"end-{trial.id}-{os.getpid()}").touch()
        yield Epoch({"score": float(os.getpid())})
'''


@pytest.fixture(scope="module")
def cluster(require: Require) -> Iterator[RayCluster]:
    """A head here, where the tests are drivers, and nothing to work on yet."""
    require("namespaces", not can_be_namespaced(), can_be_namespaced())
    made = RayCluster(cpus=0, namespaces=True)
    try:
        yield made
    finally:
        made.stop()


class Work:
    """A pool that runs trainings, and what was heard of it."""

    def __init__(self, pool: Ray, folder: Path) -> None:
        self.pool = pool
        self.folder = folder
        self.events: list[Event] = []
        self._next = 0

    def turn(self) -> None:
        self.events += self.pool.wait(0.1)

    def until(self, look: Callable[[], bool], limit: float = 120.0) -> float:
        """Take turns until it is so; the seconds that took."""
        began = time.monotonic()
        while not look():
            assert time.monotonic() - began < limit, self.events
            self.turn()
        return time.monotonic() - began

    def slots(self, count: int) -> float:
        return self.until(lambda: [one.total for one in self.events if isinstance(one, Slots)][-1:] == [count])

    def submit(self, number: int, attempt: int = 1) -> int:
        """Start a trial that has a slot to itself; the process that runs it, seen on the disk."""
        trial = Trial(number, Candidate({"folder": str(self.folder)}), epochs=100_000, horizon=100_000)
        before = set(self.folder.glob(f"{number}-*"))
        self.pool.submit(Attempt(trial, attempt))
        self.until(lambda: bool(set(self.folder.glob(f"{number}-*")) - before))
        (started,) = set(self.folder.glob(f"{number}-*")) - before
        return int(started.name.partition("-")[2])

    def open_gate(self, number: int) -> None:
        (self.folder / f"gate-{number}").touch()

    def result(self, number: int) -> Result:
        self.until(lambda: any(isinstance(one, Result) and one.trial_id == number for one in self.events))
        found = next(one for one in self.events if isinstance(one, Result) and one.trial_id == number)
        self.events.remove(found)
        return found

    @property
    def said(self) -> list[str]:
        return [one.text for one in self.events if isinstance(one, Notice)]

    @property
    def results(self) -> list[Result]:
        return [one for one in self.events if isinstance(one, Result)]


@pytest.fixture
def work(cluster: RayCluster, tmp_path: Path) -> Iterator[Work]:
    (tmp_path / "training.py").write_text(TRAINING)
    setup = Setup("s", Spec("training:Training"), folder=str(tmp_path), artifacts=str(tmp_path / "artifacts"))
    with cluster.joined(), closing(Ray(setup)) as pool:
        yield Work(pool, tmp_path)
    for node in cluster.nodes[1:]:
        cluster.kill_node(node)


def on(node: Node, pids: dict[int, int]) -> list[int]:
    """The trials that run on the node."""
    return [number for number, pid in pids.items() if pid in node.workers]


def busy_for(work: Work, seconds: float) -> None:
    """Take turns while other processes want more cores than there are."""
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    end = time.monotonic() + seconds
    try:
        work.until(lambda: time.monotonic() > end)
    finally:
        for one in load:
            one.kill()
            one.wait()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_who_vanishes_is_given_up_in_seconds_and_who_is_back_is_not_trusted(
    cluster: RayCluster, work: Work, record_property: Record
) -> None:
    here, away = cluster.add_node(1), cluster.add_node(1)
    work.slots(2)
    pids = {number: work.submit(number) for number in (1, 2)}
    (lost,), (kept,) = on(away, pids), on(here, pids)
    worker = pids[lost]
    freeze(*away.workers)
    busy_for(work, 8)
    assert work.results == [], "slow is not dead"
    thaw(*away.workers)

    cluster.partition(away)
    record_property("cable", pulled := work.until(lambda: bool(work.results)))
    assert pulled < NOTICED
    result = work.result(lost)
    assert (result.outcome, result.error) == (Outcome.LOST, "its node is gone")
    work.slots(1)
    assert (work.pool.free, work.pool.busy) == (0, 1)
    assert worker in away.workers, "it trains on, and nobody hears it"

    work.open_gate(kept)
    work.result(kept)
    pids[lost] = work.submit(lost, attempt=2)
    work.open_gate(lost)  # both attempts write, the old one into a network that is cut
    until(lambda: (work.folder / f"end-{lost}-{worker}").exists())
    again = work.result(lost)
    assert (again.attempt, again.outcome, again.metrics["score"]) == (2, Outcome.COMPLETED, pids[lost])
    assert work.pool.free == 1, "the node that is gone gets nothing"

    cluster.heal(away)
    record_property("healed", work.slots(2))
    until(lambda: worker not in away.workers, "the end of the old worker")
    assert work.results == []
    fresh = {number: work.submit(number) for number in (3, 4)}
    assert worker not in fresh.values()
    assert len(on(away, fresh)) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_slots_come_and_go_with_hosts_and_none_at_all_is_waited_out(
    cluster: RayCluster, work: Work, record_property: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.pools.waiting.PATIENCE", 1.5)
    assert (work.pool.free, work.pool.busy) == (0, 0)
    busy_for(work, 2)
    work.until(lambda: bool(work.said))
    assert work.said[0].startswith("no trial can run, and the search waits: ")
    first = cluster.add_node(1)
    assert work.slots(1) < NOTICED
    work.until(lambda: work.said[-1].startswith("there is a slot again, after "))
    second = cluster.add_node(1)
    record_property("joined", joined := work.slots(2))
    assert joined < NOTICED
    for number in (1, 2):
        work.submit(number)
    cluster.kill_node(first, silently=True)
    record_property("host", off := work.until(lambda: bool(work.results)))
    assert off < NOTICED
    work.slots(1)
    os.kill(second.raylet, signal.SIGKILL)
    record_property("raylet", killed := work.until(lambda: len(work.results) == 2))
    assert killed < NOTICED
    assert {result.outcome for result in work.results} == {Outcome.LOST}
    work.slots(0)
    cluster.add_node(1)
    assert work.slots(1) < NOTICED


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_draining_node_gives_back_what_it_runs_after_its_epoch_and_gets_nothing_more(
    cluster: RayCluster, work: Work
) -> None:
    going = cluster.add_node(1)
    work.slots(1)
    worker = work.submit(1)
    assert worker in going.workers
    staying = cluster.add_node(1)
    work.slots(2)
    cluster.drain(going, seconds=120)
    result = work.result(1)
    assert (result.outcome, result.epochs > 0) == (Outcome.STOPPED, True)
    work.slots(1)
    second = work.submit(1, attempt=2)
    assert second in staying.workers
    assert int((work.folder / f"1-{second}").read_text()) == result.epochs, "an epoch was lost"
    work.open_gate(1)
    assert work.result(1).outcome is Outcome.COMPLETED
    until(lambda: worker not in going.workers, "the end of the worker")  # its node stays until the deadline
