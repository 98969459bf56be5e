"""`kill -9` in an epoch, of workers and of the driver: the trial goes on from the epoch before, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from paced import ledger

from nas.history import History
from nas.home import open_log
from search_spaces.decisions import Candidate
from workers.artifacts import Artifacts
from workers.checkpoint import load
from workers.lineage import CHECKPOINT
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pools.local import Local
from workers.setup import Setup
from workers.trial import Attempt, Result, Trial
from workers.underway import UNDERWAY

HERE, PATIENCE = Path(__file__).parent, 120.0
TRIAL = Trial(0, Candidate({"filters": 4}), epochs=4, horizon=4, seed=5)
JOB = """\
name: killed
task: {{name: "paced:Paced", gates: "{gates}"}}
space: {{name: "tiny_space:TinySpace"}}
strategy: random
baseline: 0
budget: {{trials: 1}}
pool: {{name: local, slots: 1}}
final: {{top: 0}}
folder: "{here}"
artifacts: "{place}"
seed: 4
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def awaited(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def begun(gates: Path, count: int) -> int:
    """Wait until so many epochs have come to their middle; the process of the last."""
    awaited(lambda: len(ledger(gates)) == count)
    return ledger(gates)[-1][2]


def gone(pid: int) -> None:
    """Wait for the end of a process."""
    awaited(lambda: not Path(f"/proc/{pid}").exists())


def tensors(place: Path, number: int, search: str = "s") -> dict[str, torch.Tensor]:
    return dict(load(Artifacts.open(str(place)).get(search, 0, number, CHECKPOINT)).tensors)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Trained:
    """One trial on a local pool, its gates and its artifacts."""

    def __init__(self, folder: Path) -> None:
        self.gates, self.place = folder / "gates", folder / "artifacts"
        self.gates.mkdir(parents=True)
        task = Spec("paced:Paced", {"gates": str(self.gates)})
        space = Spec("tiny_space:TinySpace", {"drop_path": 0.3})
        self.pool = Local(Setup("s", task, space, str(self.place), folder=str(HERE)), slots=1)

    def attempt(self, number: int, epoch: int | None = None, blow: int | None = None) -> Result:
        """Submit the attempt; in the middle of `epoch` strike its worker with a signal."""
        self.pool.submit(Attempt(TRIAL, number))
        while self.pool.busy:
            for event in self.pool.wait(0.05):
                if isinstance(event, Result):
                    return event
            lines = ledger(self.gates)
            if blow is not None and lines and lines[-1][1] == epoch and lines[-1][2] == self.pid:
                os.kill(self.pid, blow)
                blow = None
                if epoch is not None and lines[-1][1] == 0:
                    (self.gates / "pass-0").touch()  # who is asked to leave does so after the epoch
        raise AssertionError("an attempt ended without a result")

    @property
    def pid(self) -> int:
        pid = self.pool._workers[0].process.pid
        assert pid is not None
        return pid

    def open(self, *names: str) -> None:
        for name in names:
            (self.gates / name).touch()


def test_workers_that_are_drained_or_killed_in_an_epoch_cost_that_epoch(tmp_path: Path) -> None:
    whole, broken = Trained(tmp_path / "whole"), Trained(tmp_path / "broken")
    with closing(whole.pool), closing(broken.pool):
        whole.open("go")
        unbroken = whole.attempt(1)
        drained = broken.attempt(1, 0, signal.SIGTERM)
        assert (drained.outcome, drained.error) == (Outcome.STOPPED, "its node is being drained")
        broken.open("pass-1")
        assert broken.attempt(2, 2, signal.SIGKILL).outcome is Outcome.LOST
        broken.open("pass-2")
        assert broken.attempt(3, 3, signal.SIGKILL).outcome is Outcome.LOST
        broken.open("go")
        result = broken.attempt(4)
    epochs = [epoch for _, epoch, _ in ledger(broken.gates)]
    assert epochs == [0, 1, 2, 2, 3, 3], "each blow costs the epoch that it met, and no other"
    assert (result.outcome, result.metrics, result.epochs) == (Outcome.COMPLETED, unbroken.metrics, 4)
    assert same(tensors(broken.place, 4), tensors(whole.place, 1))


def nas(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    paths = [str(HERE.parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "NAS_HOME": str(folder / "home")}
    return subprocess.Popen([sys.executable, "-m", "nas", *arguments], cwd=folder, env=environment)


def searched(folder: Path, kills: int) -> tuple[History, list[int]]:
    """A search of one trial, its driver killed in the middle of the epochs 2, 3, ...; the epochs that were begun."""
    gates = folder / "gates"
    gates.mkdir(parents=True)
    (folder / "job.yaml").write_text(JOB.format(gates=gates, here=HERE, place=folder / "artifacts"))
    for epoch in (0, 1) if kills else ():
        (gates / f"pass-{epoch}").touch()
    driver = nas(folder, "run", "job.yaml") if kills else None
    for kill in range(kills):
        assert driver is not None
        worker = begun(gates, 3 + 2 * kill)
        driver.kill()
        driver.wait()
        gone(worker)
        if kill + 1 < kills:
            driver = nas(folder, "resume", "killed")
            begun(gates, 4 + 2 * kill)
            (gates / f"pass-{2 + kill}").touch()
    (gates / "go").touch()
    assert nas(folder, "resume", "killed").wait() == 0 if kills else nas(folder, "run", "job.yaml").wait() == 0
    log = open_log(str(folder / "home"))
    history = History.of(log.entries("killed"))
    log.close()
    return history, [epoch for _, epoch, _ in ledger(gates)]


def test_a_search_whose_driver_is_killed_in_an_epoch_goes_on_with_that_epoch(tmp_path: Path) -> None:
    whole, _ = searched(tmp_path / "whole", 0)
    broken, epochs = searched(tmp_path / "broken", 2)
    assert epochs == [0, 1, 2, 2, 3, 3]
    first, second = whole.trials[0].result, broken.trials[0].result
    assert first is not None
    assert second is not None
    assert (second.metrics, second.epochs, second.attempt) == (first.metrics, 4, 3)
    places = (tmp_path / "whole" / "artifacts", tmp_path / "broken" / "artifacts")
    assert same(tensors(places[0], 1, "killed"), tensors(places[1], 3, "killed"))
    left = [one.name for one in Artifacts.open(str(places[1])).list("killed")]
    assert CHECKPOINT in left
    assert UNDERWAY not in left
