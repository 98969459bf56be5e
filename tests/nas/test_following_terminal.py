"""What somebody at a real terminal sees of a search that runs elsewhere; Ctrl-C there only looks away."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from test_following import entry

from nas.cli.exits import Exit
from nas.home import open_log
from nas.log import Log
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Result, Trial

PATIENCE = 120.0
WATCH = """\
from contextlib import closing
from nas.cli import remote
from nas.cli.app import application
from nas.home import open_log

def watch() -> None:
    with closing(open_log()) as log:
        remote._watch(log, "far", quiet=False)

app = application()
app.command(name="look")(watch)
app(["look"])
"""  # `nas submit --follow`, once its driver has begun
SHOWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A process at a terminal of its own, and what that has been sent."""

    def __init__(self, *command: str) -> None:
        self.master, slave = os.openpty()
        termios.tcsetwinsize(slave, (30, 100))
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, preexec_fn=lambda: os.login_tty(slave)
        )
        os.close(slave)
        self.sent = ""

    def until(self, text: str) -> None:
        """Wait until this is to be read on it."""
        end = time.monotonic() + PATIENCE
        while text not in SHOWN.sub("", self.sent):
            assert time.monotonic() < end, self.sent
            assert self.more(), self.sent

    def more(self) -> bool:
        """Whether more may come."""
        if select.select([self.master], [], [], 1.0)[0]:
            try:
                self.sent += os.read(self.master, 1 << 16).decode()
            except OSError:  # nobody is at the other end any more
                return False
        return True

    def end(self) -> int:
        """The exit code."""
        while self.more():
            pass
        return self.process.wait(PATIENCE)


@contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    opened = Terminal(*command)
    try:
        yield opened
    finally:
        with suppress(ProcessLookupError):
            opened.process.kill()
        opened.process.wait()
        os.close(opened.master)


@pytest.fixture
def log() -> Iterator[Log]:
    with closing(open_log()) as opened:
        opened.create("far", {"objectives": [{"metric": "score", "direction": "maximize"}]}, {})
        yield opened


def test_the_view_lives_in_a_terminal_and_ctrl_c_leaves_the_search_alone(log: Log) -> None:
    with terminal(sys.executable, "-c", WATCH) as shown:
        shown.until("far  created")
        shown.until("Ctrl-C looks away, and the search goes on")
        epoch = log.acquire("far")
        asked = [entry("ask", 0, Trial(0, Candidate({})).json()), entry("attempt", 0, {"number": 1})]
        log.append("far", epoch, [entry("slots", None, {"total": 3}), *asked])
        shown.until("1 of 3 slots busy")
        log.append("far", epoch, [entry("tell", 0, Result(0, 1, Outcome.COMPLETED, {"score": 0.5}).json())])
        shown.until("best score 0.5")
        assert "\x1b[?25l" in shown.sent, "the cursor hides while the view redraws itself"
        os.write(shown.master, b"\x03")
        shown.until("far goes on: nas status far, nas logs far, nas stop far")
        assert shown.end() == Exit.INTERRUPTED
        assert shown.sent.rindex("\x1b[?25h") > shown.sent.rindex("\x1b[?25l"), "and is there again afterwards"
        assert "Traceback" not in shown.sent
    assert log.header("far").state == "running"
    assert not list(log.entries("far", kinds=("request",)))


def test_the_view_ends_with_the_search(log: Log) -> None:
    with terminal(sys.executable, "-c", WATCH) as shown:
        shown.until("far  created")
        log.release("far", log.acquire("far"), "failed", "none of 3 trials completed")
        shown.until("far failed: none of 3 trials completed")
        assert shown.end() == Exit.FAILED


def test_logs_are_followed_in_a_terminal_until_ctrl_c(log: Log) -> None:
    from workers.artifacts import Artifacts

    artifacts = Artifacts.open(os.environ["NAS_HOME"])
    epoch = log.acquire("far")
    with terminal(sys.executable, "-m", "nas", "logs", "far", "--follow") as shown:
        artifacts.put("far", 0, 1, "output.txt", b"a line\nhalf of")
        shown.until("a line\n")
        artifacts.put("far", 0, 1, "output.txt", b"a line\nhalf of another\x1b[2J\n")
        shown.until("half of another")
        assert "half of\r\n" not in shown.sent
        assert "\x1b[2J" not in shown.sent
        os.write(shown.master, b"\x03")
        assert shown.end() == Exit.INTERRUPTED
    log.release("far", epoch, "finished")
