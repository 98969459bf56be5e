"""`nas top`: in a real terminal (a pseudo-terminal), once, for programs, and of a journal on a server."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from histories import JOB, Invented
from postgres_server import BINARIES, MISSING, postgres_server
from rich.console import Console
from typer.testing import CliRunner

from nas.board import Board
from nas.cli.app import application
from nas.cli.top import _frame
from nas.history import Entry
from nas.home import open_log
from nas.log import Header, Log
from nas.standing import Standing, current, snapshot

TRIALS = 40
STEP = 60.0  # seconds between two entries of a trial


def begin(log: Log, search: str = "cells") -> int:
    log.create(search, dict(JOB), {})
    epoch = log.acquire(search)
    log.append(search, epoch, [Entry(0, time.time() - 3000, "slots", None, {"total": 4})])
    return epoch


def told(first: int, last: int, ago: float = 3000.0) -> list[Entry]:
    """What a search writes of some of its trials, the first `ago` seconds before now."""
    entries = [entry for entry in Invented(trials=TRIALS, tested=False).entries() if entry.trial in range(first, last)]
    start = time.time() - ago
    return [Entry(0, start + place, one.kind, one.trial, one.body) for place, one in enumerate(entries)]


def best(last: int) -> float:
    history = Invented(trials=TRIALS, tested=False).history()
    return max(r.result.metrics.get("accuracy", 0.0) for r in history.trials.values() if r.result and r.trial.id < last)


@pytest.fixture
def log() -> Iterator[Log]:
    log = open_log()
    yield log
    log.close()


def look(place: str | None = None) -> list[dict[str, Any]]:
    arguments = ["--journal", place] if place else []
    shown = CliRunner().invoke(application(), ["top", "--json", *arguments])
    assert shown.exit_code == 0, shown.stderr
    found: list[dict[str, Any]] = json.loads(shown.stdout)
    return found


def check(log: Log, place: str | None = None) -> None:
    """One search runs with trials at work; what it says of itself, and what of one that has ended."""
    epoch = begin(log)
    log.append("cells", epoch, [*told(0, 10), *told(10, 12, ago=100.0)[:-1]])
    (row,) = look(place)
    assert (row["search"], row["state"], row["done"], row["running"], row["slots"]) == ("cells", "running", 11, 1, 4)
    assert (row["budget"], row["metric"], row["best"]) == (100, "accuracy", best(11))
    assert row["trials_per_hour"] == pytest.approx(3600 * 1 / 600, rel=0.01)  # one of the last ten minutes
    assert row["since_improvement"] == pytest.approx(3000, abs=120)
    assert row["driver"] == os.uname().nodename
    log.release("cells", epoch, "finished", "enough")
    (row,) = look(place)
    assert (row["state"], row["running"], row["slots"], row["since_improvement"]) == ("finished", 0, 0, None)


def test_a_search_is_a_row(log: Log) -> None:
    check(log)


@pytest.mark.slow
def test_a_search_on_a_server_is_a_row(require: Callable[[str, bool, str], None]) -> None:
    require("postgres", bool(BINARIES), MISSING)
    with postgres_server() as server:
        place = server.database("top")
        log = open_log(place)
        check(log, place)
        log.close()


def test_only_what_is_new_is_read(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = begin(log)
    read: list[int] = []
    entries = log.entries

    def counted(search: str, **options: Any) -> Iterator[Entry]:
        found = list(entries(search, **options))
        read.append(len(found))
        return iter(found)

    monkeypatch.setattr(log, "entries", counted)
    board = Board(log)
    log.append("cells", epoch, told(0, 20))
    assert board.look()[0]["done"] == 20
    log.append("cells", epoch, told(20, 22))
    assert board.look()[0]["done"] == 22
    assert board.look()[0]["best"] == best(22)
    assert read == [62, 6, 0]  # of the first, also its driver and its slots


def test_of_a_long_search_only_what_came_behind_its_standing_is_read(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = begin(log)
    log.append("cells", epoch, [*told(0, 30), *told(30, 38, ago=200.0)])
    log.request("cells", "extend", {"budget": {"trials": 400}})
    now = time.time()
    (expected,) = Board(log).look(now)
    log.keep("cells", epoch, snapshot(current(log, log.header("cells"))))
    entries = log.entries

    def late(search: str, after: int = 0, **options: Any) -> Iterator[Entry]:
        assert after > 100, "all of it is read"
        return entries(search, after=after, **options)

    monkeypatch.setattr(log, "entries", late)
    board = Board(log)
    (row,) = board.look(now)
    assert (row["done"], row["budget"], row["slots"], row["best"]) == (38, 400, 4, best(38))
    assert row["trials_per_hour"] == pytest.approx(3600 * 8 / 600)
    assert {**row, "heard": 0.0} == {**expected, "heard": 0.0}
    log.append("cells", epoch, told(38, 40, ago=10.0))
    assert board.look()[0]["done"] == 40


def test_a_damaged_journal_is_a_row_and_hides_no_other(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("cells", begin(log), told(0, 10))
    begin(log, "spoiled")
    assert log.folder is not None
    (log.folder / "broken").mkdir()
    (log.folder / "broken" / "journal.sqlite").write_bytes(b"SQLite format 3\x00" + b"nonsense" * 900)
    with closing(sqlite3.connect(log.folder / "spoiled" / "journal.sqlite")) as file, file:
        file.execute("UPDATE entry SET body = replace(body, '4', '5') WHERE kind = 'slots'")
    board = Board(log)
    entries, read = log.entries, list[str]()

    def counted(search: str, **options: Any) -> Iterator[Entry]:
        read.append(search)
        return entries(search, **options)

    monkeypatch.setattr(log, "entries", counted)
    for _ in range(3):
        states = {row["search"]: (row["state"], row["done"]) for row in board.look()}
        assert states == {"cells": ("running", 10), "spoiled": ("damaged", 0), "broken": ("damaged", 0)}
    assert read.count("spoiled") == 1
    assert "damaged" in CliRunner().invoke(application(), ["top"]).stdout


def test_a_driver_is_not_gone_while_its_journal_is_read(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look at long journals may take longer than a heartbeat is good for."""
    log.append("cells", begin(log), told(0, 10))
    late = time.time() + 60

    def slow(log: Log, header: Header) -> Standing:
        monkeypatch.setattr("nas.log.time.time", lambda: late)
        return current(log, header)

    monkeypatch.setattr("nas.board.current", slow)
    assert [row["state"] for row in Board(log).look()] == ["running"]


def test_another_search_of_the_same_name_is_another_row(log: Log) -> None:
    epoch, board = begin(log), Board(log)
    log.append("cells", epoch, told(0, 20))
    assert board.look()[0]["done"] == 20
    created = log.header("cells").created
    assert log.folder is not None
    log.close()
    shutil.rmtree(log.folder / "cells")
    again = open_log()
    try:
        again.append("cells", begin(again), told(0, 3))
        board._log = again
        assert again.header("cells").created != created
        assert board.look()[0]["done"] == 3
    finally:
        again.close()


def test_who_ended_long_ago_is_not_shown_and_who_lost_its_driver_is_said_to_be_abandoned(log: Log) -> None:
    begin(log)
    assert [row["state"] for row in Board(log).look()] == ["running"]
    program = (
        "import sys; from nas.home import open_log; log = open_log(); log.create('gone', {}, {}); log.acquire('gone')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert {row["search"]: row["state"] for row in Board(log).look()} == {"cells": "running", "gone": "abandoned"}
    assert [row["search"] for row in Board(log).look(time.time() + 7200)] == ["cells"]


def test_one_frame_is_a_table(log: Log) -> None:
    nothing = CliRunner().invoke(application(), ["top", "--once"])
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "No search runs here" in nothing.stderr
    epoch = begin(log)
    log.append("cells", epoch, told(0, 10))
    title, row = CliRunner().invoke(application(), ["top"]).stdout.splitlines()
    assert title.split() == [
        "search",
        "state",
        "trials",
        "running",
        "best",
        "per",
        "hour",
        "slots",
        "improved",
        "driver",
    ]
    assert re.match(rf"cells\s+running\s+10 of 100\s+0\s+{best(10):.2%} accuracy\s+0\s+0/4\s+\d+ min", row)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_long_names_leave_room_for_numbers(log: Log, width: int) -> None:
    name = "as-long-a-name-as-people-give-who-name-searches-by-machine-and-by-date-gpu-node-17-2026-11-20"
    log.append(name, begin(log, name), told(0, 10))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(_frame([{**row, "metric": "mean_absolute_percentage_error"} for row in Board(log).look()], width))
    text = console.export_text()
    timed = ("min", "ago") if width > 80 else ()
    for whole in ("as-lo", "running", "10 of 100", f"{best(10):.4f}"[:4], "0/4", *timed):
        assert whole in text


@pytest.mark.parametrize("ends", ["q", "\x03", "hangs up"])
def test_a_terminal_shows_what_happens_until_it_is_left(log: Log, ends: str, tmp_path: Path) -> None:
    epoch = begin(log)
    log.append("cells", epoch, told(0, 10))
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "140", "LINES": "20"}
        os.execv(sys.executable, [sys.executable, "-m", "nas", "top", "--interval", "0.2"])
    try:
        assert wait_for(terminal, "10 of 100")
        log.append("cells", epoch, told(10, 30))
        assert wait_for(terminal, "30 of 100")
        if ends == "hangs up":
            os.close(terminal)
            terminal = -1
        else:
            os.write(terminal, ends.encode())
            assert wait_for(terminal, "\x1b[?1049l")  # the screen that was there before
        status = ended(pid)
        assert ends == "hangs up" or status == 0
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if terminal >= 0:
            os.close(terminal)


def wait_for(terminal: int, text: str, seconds: float = 60.0) -> bool:
    """Whether the text appears on the terminal in time."""
    seen, until = "", time.monotonic() + seconds
    while text not in seen and time.monotonic() < until:
        if select.select([terminal], [], [], 0.2)[0]:
            with suppress(OSError):  # its end
                seen += os.read(terminal, 65536).decode(errors="replace")
    return text in seen


def ended(pid: int, seconds: float = 60.0) -> int | None:
    """The exit status of a child; None where it does not end in time."""
    handle, until = os.pidfd_open(pid), time.monotonic() + seconds
    try:
        select.select([handle], [], [], max(0.0, until - time.monotonic()))
        found, status = os.waitpid(pid, os.WNOHANG)
        assert found, "the process goes on"
        return os.waitstatus_to_exitcode(status)
    finally:
        os.close(handle)
