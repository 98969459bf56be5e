"""A search that nobody drives yet is stopped where it stands, and who was to drive it lets it be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from stand_ins import FOLDER
from typer.testing import CliRunner

from nas.cli.app import application
from nas.cli.exits import Exit
from nas.driver import Ending, drive, start
from nas.home import open_log
from nas.job import Job
from nas.log import Log
from nas.stopping import BEFORE, stop
from workers.errors import UserError
from workers.trial import Json

JOB: dict[str, Json] = {
    "name": "try",
    "task": "stand_ins:SumTask",
    "space": "stand_ins:GridSpace",
    "strategy": "stand_ins:Uniform",
    "pool": "stand_ins:Instant",
    "budget": {"trials": 3},
    "final": {"top": 0},
    "folder": FOLDER,
}


@pytest.fixture
def log() -> Iterator[Log]:
    with closing(open_log()) as opened:
        yield opened


def test_a_search_that_has_not_begun_is_stopped_and_the_driver_that_comes_later_ends_at_once(log: Log) -> None:
    search = start(Job.parse(JOB), log)
    said = CliRunner().invoke(application(), ["stop", search])
    assert (said.exit_code, said.stderr) == (
        Exit.DONE, "try is stopped: it had not begun; `nas resume try` goes on.\n",
    )  # fmt: skip
    assert (log.header(search).state, log.header(search).reason) == ("stopped", BEFORE)
    assert drive(search, log, after=0) == Ending(search, "stopped", BEFORE)
    assert (log.header(search).state, log.header(search).reason) == ("stopped", BEFORE)
    assert not list(log.entries(search, kinds=("ask", "request")))
    with pytest.raises(UserError, match="try is stopped: only a search that runs, or has not begun"):
        stop(search, log)
    assert drive(search, log).state == "finished"


def test_a_driver_that_begins_at_that_moment_is_asked_to_stop(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    search = start(Job.parse(JOB), log)
    acquire = type(log).acquire

    def late(self: Log, name: str, force: bool = False) -> int:
        monkeypatch.undo()
        acquire(self, name)
        return acquire(self, name, force)

    monkeypatch.setattr(type(log), "acquire", late)
    assert stop(search, log)
    assert log.header(search).state == "running"
    assert [entry.body for entry in log.entries(search, kinds=("request",))] == [{"kind": "stop"}]


def test_a_search_without_a_last_word_is_left_interrupted(log: Log) -> None:
    search = start(Job.parse(JOB), log)
    log.acquire(search)  # a driver that says no more
    assert drive(search, log, force=True, after=0).state == "interrupted"
