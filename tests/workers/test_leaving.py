"""Local workers that are asked to leave (SIGTERM) or stand still (SIGSTOP): nothing is lost that need not be."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path
from typing import ClassVar, final

import pytest

from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pool import Event
from workers.pools import guard, process
from workers.pools.local import Local
from workers.setup import Setup
from workers.trial import Attempt, Result, Trial

GATED = """
import time
from pathlib import Path


def train(values):
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return 1.0


train.decisions = {}
"""


@final
class Drained:
    """A driver's end that was woken by SIGTERM before it heard of its setup."""

    said: ClassVar[list[tuple[str, str]]] = []

    def hear(self) -> None:
        return None

    def say(self, kind: str, body: str) -> None:
        self.said.append((kind, body))


def test_a_worker_that_is_asked_to_leave_before_it_knows_its_setup_breaks_no_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "LineDriver", Drained)
    monkeypatch.setattr("workers.pools.process.signal.signal", lambda *_: None)
    monkeypatch.setattr("workers.pools.process.os.register_at_fork", lambda **_: None)
    process.main()
    assert Drained.said == [("leaving", "null")]


def pool_at(folder: Path, slots: int = 1) -> Local:
    (folder / "gated.py").write_text(GATED)
    return Local(Setup("s", Spec("gated:train"), folder=str(folder)), slots=slots)


def pid_of(pool: Local) -> int:
    pid = pool._workers[0].process.pid
    assert pid is not None
    return pid


def submit(pool: Local, number: int = 1) -> None:
    pool.submit(Attempt(Trial(0, Candidate({})), number))


def begin(pool: Local, folder: Path) -> None:
    """Submit, and wait until the trial runs."""
    submit(pool)
    while not (folder / "begun").exists():
        pool.wait(0.01)


def end(pool: Local) -> list[Outcome]:
    events: list[Event] = []
    while pool.busy:
        events += pool.wait(0.05)
    return [event.outcome for event in events if isinstance(event, Result)]


def test_what_can_keep_no_state_ends_before_its_worker_leaves(tmp_path: Path) -> None:
    with closing(pool_at(tmp_path)) as pool:
        begin(pool, tmp_path)
        before = pid_of(pool)
        os.kill(before, signal.SIGTERM)
        (tmp_path / "go").touch()
        assert end(pool) == [Outcome.COMPLETED]
        assert pid_of(pool) != before
        submit(pool)
        assert end(pool) == [Outcome.COMPLETED]


def test_an_idle_worker_leaves_at_once_and_costs_nobody_anything(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with closing(pool_at(tmp_path)) as pool:
        submit(pool)
        assert end(pool) == [Outcome.COMPLETED]
        before = pid_of(pool)
        os.kill(before, signal.SIGTERM)
        submit(pool, 2)  # perhaps before it has left
        (outcome,) = end(pool)
        assert outcome in (Outcome.COMPLETED, Outcome.STOPPED)
        submit(pool, 3)
        assert end(pool) == [Outcome.COMPLETED]
        assert pid_of(pool) != before


def test_a_worker_that_stands_still_for_long_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "FROZEN", 2.0)
    with closing(pool_at(tmp_path)) as pool:
        begin(pool, tmp_path)
        before = pid_of(pool)
        os.kill(before, signal.SIGSTOP)
        assert end(pool) == [Outcome.LOST]
        assert pid_of(pool) != before
        (tmp_path / "go").touch()
        submit(pool, 2)
        assert end(pool) == [Outcome.COMPLETED]


def test_who_goes_on_soon_enough_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    still: list[bool] = []
    monkeypatch.setattr("workers.footprint.stopped", lambda pid: still[-1])
    watched = guard.Guard(None, 5.0, guard.Census())
    spells = [(5, False), (29, True), (1, False), (29, True), (1, False), (31, True)]
    said, now = [], 0.0
    for seconds, stands in spells:
        still.append(stands)
        for _ in range(seconds):
            now += 1.0
            said.append(watched.look(1, now))
    assert said.index(guard.STOOD_STILL) == len(said) - 1
    late = watched.afresh()
    assert [late.look(1, now) for now in (0.0, 1.0, 100.0, 101.0)] == [None] * 4, "the driver itself stood still"
