"""Watchers are told of every turn and of the end, and none of them can harm the search."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import enumerate as enumerate_threads
from typing import Any

import pytest

from nas.history import History
from nas.log import Superseded
from nas.timing import BOUNDS, Spans
from nas.watcher import Watched, Watcher, Watchers
from workers.errors import UserError
from workers.pool import Pool


@dataclass
class Recorder(Watcher):
    """Keeps what it is told; fails at the call that `fails` names."""

    watched: Watched | None = None
    fails: str = ""
    told: list[str] = field(default_factory=list)

    def turn(self, history: History, pool: Pool) -> None:
        self._take("turn")

    def end(self, history: History, state: str, reason: str) -> None:
        self._take(state)

    def close(self) -> None:
        self._take("close")

    def _take(self, what: str) -> None:
        self.told.append(what)
        if what == self.fails:
            raise OSError("the port is gone")


@pytest.mark.parametrize("fails", ["turn", "finished", "close"])
def test_a_watcher_that_fails_is_left_out_and_named(fails: str) -> None:
    sound, broken, notes = Recorder(), Recorder(fails=fails), list[str]()
    pool: Any = None
    with Watchers([broken, sound], notes.append, History()) as watchers:
        for _ in range(3):
            watchers.turn(History(), pool)
        watchers.end(History(), "finished", "")
    assert sound.told == ["turn", "turn", "turn", "finished", "close"]
    assert broken.told.count("turn") == (1 if fails == "turn" else 3)
    assert set(broken.told[broken.told.index(fails) + 1 :]) <= {"close"}
    (note,) = notes
    assert note.startswith("Recorder watches no longer: ")
    assert "the port is gone" in note


def drive(watcher: Watcher, reason: str, error: BaseException) -> None:
    """A turn of a search, its end if there is a reason for one, and an error."""
    pool: Any = None
    with Watchers([watcher], pytest.fail, History()) as watchers:
        watchers.turn(History(), pool)
        if reason:
            watchers.end(History(), "stopped", reason)
        raise error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such"), ["turn", "failed", "close"]),
        (UserError("the disk is full"), ["turn", "failed", "close"]),
        (Superseded("another has it"), ["turn", "close"]),
        (KeyboardInterrupt(), ["turn", "close"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_driver_that_fails_tells_its_watchers_so(error: BaseException, told: list[str]) -> None:
    watcher = Recorder()
    with pytest.raises(type(error)):
        drive(watcher, "", error)
    assert watcher.told == told
    assert not any(thread.name == "watchers" for thread in enumerate_threads())


def test_a_driver_that_fails_after_its_end_has_told_it_once_and_without_passwords() -> None:
    reasons: list[str] = []

    class Ends(Recorder):
        def end(self, history: History, state: str, reason: str) -> None:
            reasons.append(f"{state}: {reason}")

    with pytest.raises(ValueError, match="at last"):
        drive(Ends(), "postgresql://me:hidden@host/x is away", ValueError("at last"))
    (reason,) = reasons
    assert reason.startswith("stopped: ")
    assert "hidden" not in reason


def test_a_watcher_that_keeps_the_driver_is_named_while_it_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nas.watcher.SLOW", 0.05)
    monkeypatch.setattr("nas.watcher.LOOK", 0.01)

    class Hangs(Recorder):
        def turn(self, history: History, pool: Pool) -> None:
            until = time.monotonic() + 20
            while not said and time.monotonic() < until:
                time.sleep(0.01)
                said.extend(capsys.readouterr().err.splitlines())
            time.sleep(0.1)  # ten looks, in which nothing more is said
            said.extend(capsys.readouterr().err.splitlines())

    said: list[str] = []
    notes: list[str] = []
    pool: Any = None
    with Watchers([Recorder(), Hangs()], notes.append, History()) as watchers:
        watchers.turn(History(), pool)
        assert said == ["Hangs, which watches the search, keeps it waiting, for 0.05 s by now"]
        watchers.turn(History(), pool)
    (note,) = notes
    assert note.startswith("Hangs kept the search waiting for ")


def test_spans_are_counted_by_the_bound_that_was_enough() -> None:
    spans = Spans()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1], BOUNDS[-1] * 2):
        spans.add(seconds)
    assert [place for place, count in enumerate(spans.counts) if count] == [0, 1, len(BOUNDS) - 1, len(BOUNDS)]
    assert spans.counts[0] == 2
    assert spans.total == pytest.approx(BOUNDS[0] * 2.01 + BOUNDS[-1] * 3)
    with spans.measured():
        pass
    assert sum(spans.counts) == 6
