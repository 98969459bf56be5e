"""run, resume, stop, enqueue, report, gc and the signals, with real drivers and workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nas.cli.app import application
from nas.cli.exits import Exit
from nas.history import History
from nas.home import open_log

JOB = """\
name: tune
task: {name: "tuned:train", decisions: {x: {range: [0.0, 1.0]}}}
budget: {trials: 4}
pool: {name: local, slots: 2}
final: {top: 0}
"""
TRAIN = """\
import time
from pathlib import Path

HERE = Path(__file__).parent


def train(decisions):
    with (HERE / "ledger").open("a") as ledger:
        ledger.write(f"{decisions['x']}\\n")
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return {"score": decisions["x"], "cost": 1 - decisions["x"]}
"""
PATIENCE = 60.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job whose trials wait for a file `go`, and write down that they have begun."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "tuned.py").write_text(TRAIN)
    return tmp_path


def nas(*arguments: str) -> Result:
    return CliRunner().invoke(application(), list(arguments))


def told(*arguments: str) -> Any:
    return json.loads(nas(*arguments, "--json").stdout)


@contextmanager
def driver(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process group of its own, as a terminal has it."""
    command = [sys.executable, "-m", "nas", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def begun(folder: Path, process: subprocess.Popen[str], trials: int = 2) -> None:
    """Return when so many trials have begun."""
    deadline = time.monotonic() + PATIENCE
    while not (folder / "ledger").exists() or len((folder / "ledger").read_text().splitlines()) < trials:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the trials did not begin"
        time.sleep(0.01)


def heard(process: subprocess.Popen[str]) -> None:
    """Return when the driver has taken up every request."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        log = open_log()
        waiting = History.of(log.entries("tune")).pending
        log.close()
        if not waiting:
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


def test_a_search_from_its_job_to_its_report(folder: Path) -> None:
    (folder / "go").touch()
    ran = nas("run", "job.yaml")
    assert ran.exit_code == Exit.DONE, ran.stderr
    assert ran.stdout == "tune\n"
    assert "4 of 4 trials: 4 completed" in ran.stderr
    assert "tune finished: the budget of 4 trials is spent" in ran.stderr
    best = max(told("trials"), key=lambda trial: trial["metrics"]["score"])
    assert told("best") == [best]
    reported = nas("report", "tune", "-o", "tune.html")
    assert reported.stdout == "tune.html\n"
    assert (folder / "tune.html").read_text().startswith("<!")
    assert told("gc") == [
        {"search": "tune", "files": 0, "bytes": 0, "kept_bytes": 0, "removed": False, "skipped": None}
    ]


def test_a_search_gets_a_larger_budget_and_a_candidate_of_ones_own(folder: Path) -> None:
    (folder / "go").touch()
    assert nas("run", "job.yaml", "--quiet").exit_code == Exit.DONE
    assert nas("enqueue", "tune", "x=0.25").exit_code == Exit.DONE
    resumed = nas("resume", "tune", "--set", "budget.trials=6")
    assert resumed.exit_code == Exit.DONE, resumed.stderr
    assert "6 of 6 trials" in resumed.stderr
    assert told("status")["budget"]["trials"] == 6
    assert [one["arm"] for one in told("trials") if one["candidate"] == {"x": 0.25}] == ["enqueued"]


def test_quiet_says_how_it_ended_and_nothing_else(folder: Path) -> None:
    (folder / "go").touch()
    ran = nas("run", "job.yaml", "--quiet")
    assert ran.stdout == "tune\n"
    assert ran.stderr == "tune finished: the budget of 4 trials is spent\n"


def test_the_journal_may_be_named_by_the_job(folder: Path) -> None:
    (folder / "go").touch()
    ran = nas("run", "job.yaml", "--quiet", "--set", "journal=here")
    assert "--journal here" in ran.stderr
    assert [one["search"] for one in told("list", "--journal", "here")] == ["tune"]
    assert told("list") == []


def test_what_is_searched_may_be_several_metrics(folder: Path) -> None:
    (folder / "go").touch()
    wanted = "objectives=[{metric: score, direction: maximize}, {metric: cost, direction: minimize}]"
    ran = nas("run", "job.yaml", "--quiet", "--set", wanted)
    assert ran.exit_code == Exit.DONE, ran.stderr
    assert len(told("best")) == 1
    assert [goal["metric"] for goal in told("status")["objectives"]] == ["score", "cost"]


def test_ctrl_c_once_finishes_what_runs_and_resume_does_the_rest(folder: Path) -> None:
    with driver("run", "job.yaml") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "tune\n"
        begun(folder, process)
        os.killpg(process.pid, signal.SIGINT)
        (folder / "go").touch()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.INTERRUPTED, said
    assert "Traceback" not in said
    assert "nas resume tune" in said
    status = told("status")
    assert (status["state"], status["trials"]["completed"], status["trials"]["asked"]) == ("interrupted", 2, 2)
    assert nas("resume", "tune").exit_code == Exit.DONE
    assert told("status")["trials"] == {"asked": 4, "running": 0, "waiting": 0, "completed": 4}
    assert len((folder / "ledger").read_text().splitlines()) == 4


def test_ctrl_c_twice_stops_now_and_resume_does_the_rest(folder: Path) -> None:
    with driver("run", "job.yaml") as process:
        begun(folder, process)
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.INTERRUPTED, said
    assert "Traceback" not in said
    assert told("status")["trials"] == {"asked": 2, "running": 0, "waiting": 2}
    (folder / "go").touch()
    assert nas("resume", "tune").exit_code == Exit.DONE
    assert told("status")["trials"] == {"asked": 4, "running": 0, "waiting": 0, "completed": 4}


@pytest.mark.parametrize("how", ["SIGTERM", "nas stop"])
def test_other_ways_to_stop_finish_what_runs(folder: Path, how: str) -> None:
    with driver("run", "job.yaml") as process:
        begun(folder, process)
        assert told("status")["state"] == "running"
        if how == "nas stop":
            assert nas("stop", "tune").exit_code == Exit.DONE
            heard(process)
        else:
            os.kill(process.pid, signal.SIGTERM)
        (folder / "go").touch()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.INTERRUPTED, said
    status = told("status")
    assert status["state"] == ("stopped" if how == "nas stop" else "interrupted")
    assert status["trials"]["waiting"] == 0


def test_a_running_search_has_one_driver(folder: Path) -> None:
    with driver("run", "job.yaml") as process:
        begun(folder, process)
        second = nas("resume", "tune")
        assert second.exit_code == Exit.USAGE
        assert "a search has one driver" in second.stderr
        (folder / "go").touch()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.DONE
    assert len((folder / "ledger").read_text().splitlines()) == 4


def test_a_search_of_which_nothing_completes_has_failed(folder: Path) -> None:
    (folder / "tuned.py").write_text("def train(decisions):\n    raise ValueError('no such thing')\n")
    ran = nas("run", "job.yaml")
    assert ran.exit_code == Exit.FAILED
    assert "no such thing" in ran.stderr
    assert "Traceback" not in ran.stderr
