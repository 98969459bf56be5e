"""Watchers of a real search: one that is killed and gone on with, one whose webhook nobody answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from nas.cli.app import application
from nas.history import Entry
from nas.home import open_log
from workers.trial import Json

JOB: dict[str, Json] = {
    "name": "tune",
    "task": {"name": "tuned:train", "decisions": {"x": {"range": [0.0, 1.0]}}},
    "strategy": "random",
    "budget": {"trials": 12},
    "pool": {"name": "local", "slots": 1},
    "final": {"top": 0},
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(watch: Json, seconds: float = 0.0) -> None:
    """A job whose trials take so long, and is watched."""
    text = f"import time\n\n\ndef train(decisions):\n    time.sleep({seconds})\n    return decisions['x']\n"
    Path("tuned.py").write_text(text)
    Path("job.yaml").write_text(json.dumps({**JOB, "watch": watch}))


def entries() -> list[Entry]:
    with closing(open_log()) as log:
        return list(log.entries("tune")) if log.searches() else []


def course() -> list[tuple[int, float]]:
    """The best so far over the trials told, as the journal has it."""
    found: list[tuple[int, float]] = []
    told = [entry.body["metrics"]["score"] for entry in entries() if entry.kind == "tell"]
    for step, value in enumerate(told, start=1):
        if not found or value > found[-1][1]:
            found.append((step, value))
    return found


@pytest.mark.slow
def test_a_search_that_is_killed_is_drawn_whole_by_the_next_driver() -> None:
    write([{"name": "tensorboard", "folder": "runs"}], seconds=0.1)
    driver = subprocess.Popen([sys.executable, "-m", "nas", "run", "job.yaml", "-q"], start_new_session=True)
    try:
        until = time.monotonic() + 60
        while sum(entry.kind == "tell" for entry in entries()) < 4:
            assert time.monotonic() < until
            assert driver.poll() is None
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert CliRunner().invoke(application(), ["resume", "tune", "-q"]).exit_code == 0
    run = EventAccumulator("runs/tune/strategy")
    run.Reload()
    shown = [(one.step, one.value) for one in run.Scalars("best/score")]
    assert [step for step, _ in shown] == [step for step, _ in course()]
    assert [value for _, value in shown] == pytest.approx([value for _, value in course()])
    counts = EventAccumulator("runs/tune/search")
    counts.Reload()
    assert (counts.Scalars("trials/completed")[-1].step, counts.Scalars("trials/completed")[-1].value) == (12, 12)


def test_a_webhook_that_nobody_answers_is_a_note() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/token-of-mine"
        write([{"name": "webhook", "url": url, "retries": 0}])
        run = CliRunner().invoke(application(), ["run", "job.yaml", "-q"])
    assert run.exit_code == 0, run.stderr
    status = json.loads(CliRunner().invoke(application(), ["status", "tune", "--json"]).stdout)
    assert status["state"] == "finished"
    (note,) = (note for note in status["notes"] if "Webhook" in note)
    assert "cannot be reached" in note
    assert "token-of-mine" not in note


@pytest.mark.parametrize(
    "watcher",
    [
        {"name": "webhook", "url": "ftp://example.org/x"},
        {"name": "webhook", "url": "https://me:hidden@example.org/x"},
        {"name": "webhook"},
        {"name": "mlflow", "uri": "postgresql://me:hidden@example.org/x"},
    ],
)
def test_a_mistake_is_said_before_a_journal_keeps_it(watcher: Json) -> None:
    write([watcher])
    run = CliRunner().invoke(application(), ["run", "job.yaml", "-q"])
    assert run.exit_code == 2
    assert f"watch: {watcher['name']}" in run.stderr
    assert "hidden" not in run.stderr
    assert entries() == []


def test_a_driver_that_fails_before_its_first_turn_tells_so() -> None:
    heard: list[Json] = []

    class Hears(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    Path("mute.py").write_text(
        "from nas.strategy import Strategy\n\n\nclass Mute(Strategy):\n    asked = told = None\n\n"
        "    def propose(self, draw):\n        raise RuntimeError('postgresql://me:hidden@host/x is away')\n"
    )
    with HTTPServer(("127.0.0.1", 0), Hears) as server:
        server.timeout = 20
        thread = Thread(target=server.handle_request)
        thread.start()
        write([{"name": "webhook", "url": f"http://127.0.0.1:{server.server_port}/"}])
        Path("job.yaml").write_text(json.dumps({**json.loads(Path("job.yaml").read_text()), "strategy": "mute:Mute"}))
        run = CliRunner().invoke(application(), ["run", "job.yaml", "-q"])
        thread.join(20)
    assert run.exit_code != 0
    ((state, reason),) = [(one["state"], one["reason"]) for one in heard]
    assert state == "failed"
    assert reason.startswith("RuntimeError: postgresql://")
    assert "hidden" not in reason
