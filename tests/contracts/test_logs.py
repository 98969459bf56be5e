"""What every log promises, SQLite and PostgreSQL alike."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from postgres_server import BINARIES, MISSING, PostgresServer, postgres_server

from nas.history import Entry
from nas.home import open_log
from nas.log import STALE, Log, Snapshot, Superseded
from workers.errors import NotFoundError, UserError

Require = Callable[[str, bool, str], None]
JOB = {"name": "try", "seed": 3}
VERSIONS = {"python": "3.11", "torch": "2.13"}

ONE_DRIVER = """
import os, signal, sys
from nas.home import open_log
log = open_log(sys.argv[1])
log.acquire("try")
os.kill(os.getpid(), signal.SIGKILL)
"""
WRITERS = """
import sys
from nas.home import open_log
log = open_log(sys.argv[1])
for number in range(int(sys.argv[2])):
    log.request("try", "extend", {"trials": number})
"""


@pytest.fixture(scope="session")
def server(require: Require) -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own."""
    require("postgres", bool(BINARIES), MISSING)
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a fresh log is."""
    if request.param == "sqlite":
        return str(tmp_path / "journals")
    server: PostgresServer = request.getfixturevalue("server")
    return server.database(f"test_{abs(hash(request.node.name))}")


@pytest.fixture
def log(place: str) -> Iterator[Log]:
    log = open_log(place)
    log.create("try", JOB, VERSIONS)
    yield log
    log.close()


def entry(kind: str = "note", trial: int | None = None, **body: Any) -> Entry:
    return Entry(0, 1000.5, kind, trial, body)


def test_a_search_keeps_its_job_and_versions(log: Log, place: str) -> None:
    log.close()
    again = open_log(place)
    header = again.header("try")
    assert (header.job, header.versions, header.state, header.epoch) == (JOB, VERSIONS, "created", 0)
    assert [one.search for one in again.searches()] == ["try"]
    again.close()


def test_a_name_is_given_once(log: Log) -> None:
    with pytest.raises(UserError, match=r"a search try already.*nas resume try"):
        log.create("try", {}, {})
    assert log.header("try").job == JOB


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", "-x", "ä"])
def test_a_name_that_could_not_be_a_folder_is_refused(log: Log, name: str) -> None:
    with pytest.raises(UserError, match="is no name for a search"):
        log.create(name, {}, {})


def test_an_unknown_search_names_the_nearest(log: Log) -> None:
    for ask in (log.header, log.acquire, lambda name: log.request(name, "stop", {}), lambda name: [*log.entries(name)]):
        with pytest.raises(NotFoundError, match=r"no search 'tyr'.*did you mean try\?"):
            ask("tyr")


def test_entries_come_back_in_order_and_whole(log: Log) -> None:
    epoch = log.acquire("try")
    written = [entry("ask", 3, text='é"\n\x00☃', list=[1, 2.5, None, True]), entry("tell", 3, metrics={"a": 1e-9})]
    last = log.append("try", epoch, written)
    rest = log.append("try", epoch, [entry("note")])
    found = list(log.entries("try"))
    assert [one.kind for one in found] == ["driver", "ask", "tell", "note"]
    assert [one.sequence for one in found] == [1, 2, 3, 4]
    assert (last, rest) == (3, 4)
    assert [replace(one, sequence=0) for one in found[1:3]] == written
    assert [one.sequence for one in log.entries("try", after=2)] == [3, 4]
    assert [one.sequence for one in log.entries("try", after=1, kinds=("note", "ask"))] == [2, 4]
    assert list(log.entries("try", kinds=())) == []


def test_numbers_that_are_none_come_back(log: Log) -> None:
    log.append("try", log.acquire("try"), [entry("tell", 0, metrics={"a": math.nan, "b": -math.inf})])
    metrics = list(log.entries("try"))[-1].body["metrics"]
    assert math.isnan(metrics["a"])
    assert metrics["b"] == -math.inf


def test_many_entries_are_read_in_pieces(log: Log) -> None:
    epoch = log.acquire("try")
    log.append("try", epoch, [entry("note", number) for number in range(4500)])
    found = log.entries("try", kinds=("note",))
    first = next(found)
    log.append("try", epoch, [entry("note", 4500)])  # a reader in the middle holds up nobody
    assert [first.trial, *(one.trial for one in found)] == list(range(4501))


def test_a_turn_is_written_altogether_or_not_at_all(log: Log) -> None:
    epoch = log.acquire("try")
    with pytest.raises(TypeError):
        log.append("try", epoch, [entry("note", 1), entry("note", 2, wrong=object())])
    assert [one.kind for one in log.entries("try")] == ["driver"]
    assert log.append("try", epoch, [entry("note")]) == 2


def test_a_second_driver_is_refused_and_told_what_to_do(log: Log, place: str) -> None:
    log.acquire("try")
    other = open_log(place)
    with pytest.raises(UserError, match=rf"run by process {os.getpid()} on .*nas stop try.*nas resume try --force"):
        other.acquire("try")
    assert other.header("try").epoch == 1
    assert other.header("try").driven()
    other.close()


def test_a_driver_that_was_taken_over_from_writes_nothing(log: Log, place: str) -> None:
    first = log.acquire("try")
    log.append("try", first, [entry("note", 1)])
    other = open_log(place)
    second = other.acquire("try", force=True)
    assert second == first + 1
    with pytest.raises(Superseded):
        log.append("try", first, [entry("note", 2)])
    with pytest.raises(Superseded):
        log.heartbeat("try", first)
    with pytest.raises(Superseded):
        log.release("try", first, "finished")
    other.append("try", second, [entry("note", 3)])
    assert [one.trial for one in other.entries("try", kinds=("note",))] == [1, 3]
    assert other.header("try").state == "running"
    other.close()


def test_a_search_that_was_let_go_can_be_had_at_once(log: Log) -> None:
    epoch = log.acquire("try")
    log.release("try", epoch, "stopped", "by a person")
    header = log.header("try")
    assert (header.state, header.reason, header.driven()) == ("stopped", "by a person", False)
    with pytest.raises(Superseded):
        log.append("try", epoch, [entry()])
    assert log.acquire("try") == epoch + 1
    kinds = [(one.kind, one.body.get("state")) for one in log.entries("try")]
    assert kinds == [("driver", None), ("state", "stopped"), ("driver", None)]


def test_a_driver_that_was_killed_is_replaced_at_once(log: Log, place: str) -> None:
    killed = subprocess.run([sys.executable, "-c", ONE_DRIVER, place], check=False)
    assert killed.returncode == -signal.SIGKILL
    header = log.header("try")
    assert (header.state, header.epoch, header.driven()) == ("running", 1, False)
    assert log.acquire("try") == 2


def test_a_driver_that_is_silent_for_long_is_replaced(log: Log) -> None:
    epoch = log.acquire("try")
    before = log.header("try").heartbeat
    log.heartbeat("try", epoch)
    header = log.header("try")
    assert header.heartbeat >= before
    assert header.driven(header.heartbeat + STALE - 1)
    assert not header.driven(header.heartbeat + STALE + 1)


def test_requests_need_no_epoch_and_are_checked(log: Log) -> None:
    assert log.request("try", "stop", {"now": True}) == 1
    (found,) = log.entries("try")
    assert (found.kind, found.body) == ("request", {"kind": "stop", "now": True})
    with pytest.raises(UserError, match=r"'halt' is no request: there are stop, extend, enqueue"):
        log.request("try", "halt", {})


def test_a_reader_misses_nothing_while_several_processes_write(log: Log, place: str) -> None:
    epoch = log.acquire("try")
    writers = [subprocess.Popen([sys.executable, "-c", WRITERS, place, "40"]) for _ in range(2)]
    seen: list[int] = []
    written = 1
    while any(writer.poll() is None for writer in writers):
        written += 3
        log.append("try", epoch, [entry("note"), entry("note"), entry("note")])
        seen += [one.sequence for one in log.entries("try", after=seen[-1] if seen else 0)]
    assert [writer.returncode for writer in writers] == [0, 0]
    seen += [one.sequence for one in log.entries("try", after=seen[-1])]
    assert seen == list(range(1, written + 80 + 1))


@pytest.mark.parametrize("place", [pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_a_takeover_that_is_under_way_counts(log: Log, place: str) -> None:
    """A driver that writes while another takes over waits for it, and then writes nothing."""
    import psycopg

    epoch = log.acquire("try")
    said: list[BaseException] = []

    def write() -> None:
        try:
            log.append("try", epoch, [entry()])
        except Superseded as error:
            said.append(error)

    writer = Thread(target=write)
    with psycopg.connect(place) as other:
        other.execute("UPDATE cellwright_search SET epoch = epoch + 1")
        writer.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with psycopg.connect(place, autocommit=True) as watcher:
            while writer.is_alive() and not watcher.execute(waits).fetchone():
                continue
    writer.join()
    assert len(said) == 1
    assert [one.kind for one in log.entries("try")] == ["driver"]


def test_a_snapshot_takes_the_place_of_the_one_before(log: Log, place: str) -> None:
    assert log.snapshot("try", "standing") is None
    epoch = log.acquire("try")
    for sequence in (3, 7):
        log.keep("try", epoch, Snapshot("standing", sequence, "0.1", bytes(range(256))))
    log.keep("try", epoch, Snapshot("other", 1, "0.1", b""))
    log.close()
    again = open_log(place)
    assert again.snapshot("try", "standing") == Snapshot("standing", 7, "0.1", bytes(range(256)))
    assert again.snapshot("try", "other") == Snapshot("other", 1, "0.1", b"")
    again.close()


def test_a_driver_that_was_taken_over_from_keeps_no_snapshot(log: Log, place: str) -> None:
    first = log.acquire("try")
    log.acquire("try", force=True)
    with pytest.raises(Superseded):
        log.keep("try", first, Snapshot("standing", 3, "0.1", b""))
    assert log.snapshot("try", "standing") is None


def test_closing_twice_is_closing_once(log: Log) -> None:
    log.close()
    log.close()
