"""`kill -9` of whatever process at whatever moment: nothing is lost, and nothing is done twice.

The oracle is a ledger that the trials write, not the journal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, final

import chaos_trial
import pytest

from nas.driver import start
from nas.history import History
from nas.home import open_log
from nas.job import Job
from workers.objectives import Outcome
from workers.trial import Json

HERE = Path(__file__).parent
MOMENTS = ("before-commit", "after-commit", "before-tell", "before-submit", "after-submit")


@final
class Chaos:
    """A search in a folder, the drivers that go on with it, and what was known whenever something was killed."""

    def __init__(self, folder: Path, trials: int, pool: Mapping[str, Any], seconds: float = 0.06) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self.trials = trials
        self.slots = int(pool["slots"])
        self.kills = 0
        self.known: dict[int, tuple[Json, int]] = {}
        task = {"name": "chaos_trial:Ledgered", "ledger": str(self.ledger), "seconds": seconds}
        job = {"name": "chaos", "task": task, "strategy": "random", "budget": {"trials": trials}, "final": {"top": 0}}
        places = {"journal": str(folder), "artifacts": str(folder / "artifacts"), "folder": str(HERE)}
        log = open_log(str(folder))
        start(Job.parse({**job, **places, "pool": dict(pool), "baseline": 0.0, "seed": 3}), log)
        log.close()

    def drive(self, moment: str = "never", count: int = 1) -> subprocess.Popen[bytes]:
        """Start a driver that strikes itself at the `count`-th `moment`."""
        command = [sys.executable, str(HERE / "chaos_driver.py"), str(self.folder), moment, str(count)]
        path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE)

    def ends(self, driver: subprocess.Popen[bytes], code: int) -> None:
        """Wait for the end of a driver, which must be `code`."""
        _, errors = driver.communicate(timeout=400)
        assert driver.returncode == code, errors.decode()[-3000:]

    def goes_on(self, driver: subprocess.Popen[bytes]) -> None:
        """Hold that a driver still lives, and leave it the cores for a moment; if not, show what it said."""
        if driver.poll() is not None:
            _, errors = driver.communicate()
            raise AssertionError(f"the driver has ended with {driver.returncode}: {errors.decode()[-3000:]}")
        time.sleep(0.005)

    def kill(self, moment: str, count: int) -> None:
        """The life of a driver that ends in its own blow."""
        self.ends(self.drive(moment, count), -signal.SIGKILL)
        self.killed()

    def kill_worker(self, driver: subprocess.Popen[bytes], spared: set[int]) -> None:
        """Kill a worker in the middle of a trial, and no trial twice: its third loss would be its fault."""
        while True:
            self.goes_on(driver)
            for line in chaos_trial.in_flight(self.ledger):
                if line.trial not in spared:
                    spared.add(line.trial)
                    os.kill(line.pid, signal.SIGKILL)
                    self.killed()
                    return

    def killed(self) -> None:
        """Count one more death, and see what it left."""
        self.kills += 1
        self.remember()

    def remember(self) -> None:
        """Which trials are told, how, and how often each of them was started: for them that is the end."""
        starts = Counter(line.trial for line in chaos_trial.read(self.ledger) if line.what == "start")
        for trial, record in self.history().trials.items():
            if record.result is not None:
                now = (record.result.json(), starts[trial])
                assert self.known.setdefault(trial, now) == now, "a result changed, or its trial was started again"

    def history(self) -> History:
        """What the journal says now."""
        log = open_log(str(self.folder))
        history = History.of(log.entries("chaos"))
        log.close()
        return history

    def finish(self) -> None:
        """Run to the end, and hold the journal against the ledger."""
        self.ends(self.drive(), 0)
        self.holds()

    def holds(self) -> None:
        """Every trial has one result, which is what the ledger says; none is missing, none was started in vain."""
        log = open_log(str(self.folder))
        told = Counter(entry.trial for entry in log.entries("chaos", kinds=("tell",)) if _charged(entry.body))
        log.close()
        assert told == dict.fromkeys(range(self.trials), 1)
        self.remember()
        lines = chaos_trial.read(self.ledger)
        finished = {line.trial: line for line in lines if line.what == "finish"}
        assert sorted(finished) == list(range(self.trials))
        for trial, record in self.history().trials.items():
            assert record.result is not None
            assert record.result.outcome is Outcome.COMPLETED
            assert record.result.metrics["score"] == chaos_trial.score(finished[trial].candidate)
        candidates = {(line.trial, tuple(line.candidate.items())) for line in lines}
        assert len(candidates) == self.trials, "a trial was started with two candidates"
        starts = sum(line.what == "start" for line in lines)
        assert starts <= self.trials + self.kills * self.slots

    def candidates(self) -> list[Mapping[str, Any]]:
        """What was asked, in order."""
        return [record.trial.candidate.json() for record in self.history().trials.values()]


def _charged(result: Json) -> bool:
    return Outcome(result["outcome"]).charged


@pytest.mark.parametrize("slots", [1, 2])
def test_a_driver_killed_at_each_moment_loses_and_repeats_nothing(slots: int, tmp_path: Path) -> None:
    chaos = Chaos(tmp_path / "killed", 40, {"name": "local", "slots": slots}, seconds=0.02 if slots == 1 else 0.1)
    for moment in MOMENTS:
        chaos.kill(moment, 3)
    chaos.finish()
    assert chaos.kills == 5
    if slots == 1:
        unbroken = Chaos(tmp_path / "unbroken", 40, {"name": "local", "slots": 1}, seconds=0.0)
        unbroken.finish()
        assert chaos.candidates() == unbroken.candidates()


def test_workers_killed_in_the_middle_of_a_trial_are_replaced(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, 30, {"name": "local", "slots": 2})
    driver = chaos.drive()
    spared: set[int] = set()
    for _ in range(4):
        chaos.kill_worker(driver, spared)
    chaos.ends(driver, 0)
    chaos.holds()
    assert chaos.kills == 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_whose_workers_raylet_and_driver_are_killed(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, 160, {"name": "ray", "slots": 2}, seconds=0.1)
    driver = chaos.drive()
    spared: set[int] = set()
    for _ in range(3):
        chaos.kill_worker(driver, spared)
    while not (flying := chaos_trial.in_flight(chaos.ledger)):
        chaos.goes_on(driver)
    spared |= {line.trial for line in flying}
    os.kill(_raylet(driver.pid), signal.SIGKILL)
    chaos.killed()
    while {line.pid for line in chaos_trial.in_flight(chaos.ledger)} <= {line.pid for line in flying}:
        chaos.goes_on(driver)  # the pool begins anew with another raylet, so the driver needs no help
    chaos.kill_worker(driver, spared)
    driver.kill()
    chaos.ends(driver, -signal.SIGKILL)
    chaos.killed()
    for moment in ("before-tell", "after-commit"):
        chaos.kill(moment, 20)
    chaos.finish()
    assert chaos.kills == 8


def _raylet(driver: int) -> int:
    """The raylet that a driver has started."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if parent == driver and command.endswith(b"/raylet"):
            return int(status.parent.name)
    raise AssertionError(f"the driver {driver} has no raylet")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thirty_killed_drivers(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, 200, {"name": "local", "slots": 2})
    for count in (1, 2, 4, 7, 11):
        for moment in MOMENTS:
            chaos.kill(moment, count)
    generator = Random(0)
    for _ in range(5):
        driver = chaos.drive()
        before = len(chaos_trial.read(chaos.ledger))
        while not chaos_trial.in_flight(chaos.ledger) or len(chaos_trial.read(chaos.ledger)) < before + 2:
            chaos.goes_on(driver)
        time.sleep(0.1 * generator.random())
        driver.kill()
        chaos.ends(driver, -signal.SIGKILL)
        chaos.killed()
    chaos.finish()
    assert chaos.kills == 30
