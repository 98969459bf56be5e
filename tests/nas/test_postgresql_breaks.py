"""Connections to PostgreSQL that break, and servers that restart: every entry is there once, and in order.

The fast tests run the log's own statements on SQLite, and lose an answer at every place that there is; the slow ones
have a real server crash and connections end under threads that write.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, final

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres_server import BINARIES, MISSING, PostgresServer, postgres_server

from nas.history import Entry
from nas.log import Superseded
from nas.logs import connection
from nas.logs.postgresql import PostgresqlLog
from workers.errors import UserError

Require = Callable[[str, bool, str], None]
FATES = ("well", "lost before", "lost after", "refused")


def entry(number: int) -> Entry:
    return Entry(0, 1000.5 + number, "note", number, {"number": number})


def notes(log: PostgresqlLog) -> list[int | None]:
    return [one.trial for one in log.entries("try") if one.kind == "note"]


@final
class Wire:
    """What becomes of the transactions to come: they end well, before or after the commit, or nobody answers at all."""

    def __init__(self) -> None:
        self.tables = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.fates: list[str] = []
        self.between: Callable[[], None] | None = None

    def connect(self, _place: str) -> Fake:
        if self.fates and self.fates[0] == "refused":
            self.fates.pop(0)
            raise psycopg.OperationalError("connection refused")
        return Fake(self)


@final
class Fake:
    """As much of a connection of psycopg as is needed here, on tables of SQLite."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.closed = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        fate = self.wire.fates.pop(0) if self.wire.fates else "well"
        if self.closed or fate == "refused":
            self.closed = True
            raise psycopg.OperationalError("the connection is closed")
        self.wire.tables.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.wire.tables.execute("ROLLBACK")
            raise
        self.wire.tables.execute("ROLLBACK" if fate == "lost before" else "COMMIT")
        if fate != "well":
            self.closed = True
            if self.wire.between is not None:
                self.wire.between()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    @contextmanager
    def cursor(self) -> Iterator[FakeCursor]:
        yield FakeCursor(self.wire.tables)

    def close(self) -> None:
        self.closed = True


@final
class FakeCursor:
    def __init__(self, tables: sqlite3.Connection) -> None:
        self._cursor = tables.cursor()

    def execute(self, query: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        if "pg_advisory" in query:
            return self._cursor.execute("SELECT 1")
        return self._cursor.execute(_plain(query), values)

    def executemany(self, query: str, values: list[tuple[Any, ...]]) -> None:
        self._cursor.executemany(_plain(query), values)

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount


def _plain(query: str) -> str:
    clock = "extract(epoch FROM clock_timestamp())::float8"
    return query.replace("%s", "?").replace(" FOR UPDATE", "").replace(clock, "(julianday('now') - 2440587.5) * 86400")


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire()
    monkeypatch.setattr(connection, "_connect", made.connect)
    monkeypatch.setattr(connection, "PAUSE", 0.0)
    return made


@given(st.lists(st.tuples(st.integers(1, 3), st.lists(st.sampled_from(FATES), max_size=4)), max_size=6))
def test_whatever_breaks_when_every_entry_is_there_once(turns: list[tuple[int, list[str]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        wire = Wire()
        patch.setattr(connection, "_connect", wire.connect)
        patch.setattr(connection, "PAUSE", 0.0)
        log = PostgresqlLog("anywhere")
        log.create("try", {}, {})
        epoch = log.acquire("try")
        written = 0
        for count, fates in turns:
            wire.fates = list(fates)
            last = log.append("try", epoch, [entry(written + one) for one in range(count)])
            written += count
            assert last == written + 1
        assert notes(log) == list(range(written))
        assert [one.sequence for one in log.entries("try")] == list(range(1, written + 2))


def test_a_commit_whose_answer_was_lost_is_not_repeated(wire: Wire) -> None:
    log = PostgresqlLog("anywhere")
    log.create("try", {}, {})
    epoch = log.acquire("try")
    wire.fates = ["lost after"]
    assert log.append("try", epoch, [entry(1), entry(2)]) == 3
    assert notes(log) == [1, 2]


@pytest.mark.parametrize("fate", ["lost before", "lost after"])
def test_who_gives_up_and_comes_again_with_more_writes_nothing_twice(wire: Wire, fate: str) -> None:
    log = PostgresqlLog("anywhere", patience=0.05)
    log.create("try", {}, {})
    epoch = log.acquire("try")
    wire.fates = [fate, *["refused"] * 100_000]
    with pytest.raises(UserError, match="cannot be used"):
        log.append("try", epoch, [entry(1), entry(2)])
    wire.fates = ["well"]
    other = PostgresqlLog("anywhere")
    other.request("try", "stop", {})
    log.searches()  # the server is heard again, so that it may be away again
    wire.fates = ["lost after"]
    log.append("try", epoch, [entry(1), entry(2), entry(3)])
    log.append("try", epoch, [entry(4)])
    assert notes(log) == [1, 2, 3, 4]
    assert [one.sequence for one in log.entries("try")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("fate", ["lost before", "lost after"])
def test_what_is_added_to_a_write_in_doubt_is_written_too(wire: Wire, fate: str) -> None:
    log = PostgresqlLog("anywhere", patience=0.05)
    log.create("try", {}, {})
    epoch, buffer = log.acquire("try"), [entry(1)]
    wire.fates = [fate, *["refused"] * 100_000]
    with pytest.raises(UserError, match="cannot be used"):
        log.append("try", epoch, buffer)
    wire.fates = []
    buffer.append(entry(2))  # as a journal does with what it could not write
    assert log.append("try", epoch, buffer) == 3
    assert notes(log) == [1, 2]


def test_who_writes_beside_a_write_in_doubt_takes_no_doubt_away(wire: Wire) -> None:
    log = PostgresqlLog("anywhere", patience=0.05)
    log.create("try", {}, {})
    epoch = log.acquire("try")
    wire.fates = ["lost after", *["refused"] * 100_000]
    with pytest.raises(UserError, match="cannot be used"):
        log.append("try", epoch, [entry(1)])
    wire.fates = []
    other = threading.Thread(target=log.request, args=("try", "stop", {}))
    other.start()
    other.join()
    log.append("try", epoch, [entry(1)])
    assert notes(log) == [1]


def test_a_mistake_of_the_caller_uses_up_no_patience(wire: Wire) -> None:
    log = PostgresqlLog("anywhere", patience=0.05)
    wire.fates = ["refused"]
    with pytest.raises(UserError, match="there is no search"):
        log.header("nothing")
    time.sleep(0.06)  # the patience with a server that was away, and is back
    wire.fates = ["refused"]
    assert log.searches() == []


def test_creating_acquiring_asking_and_letting_go_happen_once(wire: Wire) -> None:
    log = PostgresqlLog("anywhere")
    wire.fates = ["lost after"]
    log.create("try", {"seed": 1}, {})
    with pytest.raises(UserError, match="a search try already"):
        log.create("try", {"seed": 1}, {})
    wire.fates = ["lost after"]
    assert log.acquire("try") == 1
    wire.fates = ["lost after"]
    assert log.request("try", "stop", {}) == 2
    wire.fates = ["lost after"]
    log.release("try", 1, "stopped", "by a person")
    assert [one.kind for one in log.entries("try")] == ["driver", "request", "state"]
    assert (log.header("try").epoch, log.header("try").state) == (1, "stopped")


def test_who_was_taken_over_while_the_server_was_away_writes_nothing(wire: Wire) -> None:
    log = PostgresqlLog("anywhere")
    log.create("try", {}, {})
    epoch = log.acquire("try")
    wire.between = lambda: wire.tables.execute("UPDATE cellwright_search SET epoch = epoch + 1")  # type: ignore[assignment]
    wire.fates = ["lost before"]
    with pytest.raises(Superseded):
        log.append("try", epoch, [entry(1)])
    assert [one.kind for one in log.entries("try")] == ["driver"]


def test_a_server_that_stays_away_is_no_longer_waited_for(wire: Wire) -> None:
    log = PostgresqlLog("anywhere", patience=0.05)
    wire.fates = ["refused"] * 100_000
    with pytest.raises(UserError, match=r"cannot be used \(connection refused\)"):
        log.searches()
    before = len(wire.fates)
    with pytest.raises(UserError):
        log.searches()
    assert before - len(wire.fates) <= 2, "its patience is over until the server is back"
    wire.fates = []
    assert log.searches() == []


@pytest.fixture(scope="module")
def server(require: Require) -> Iterator[PostgresServer]:
    require("postgres", bool(BINARIES), MISSING)
    with postgres_server() as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_crashes_again_and_again_under_load(server: PostgresServer) -> None:
    """Two searches write, a person asks, a reader reads on; the server crashes, and connections are killed."""
    place = server.database("crashes")
    over = threading.Event()
    done: dict[str, int] = {}
    logs = {name: PostgresqlLog(place) for name in ("a", "b")}

    def write(name: str) -> None:
        log = logs[name]
        log.create(name, {}, {})
        epoch, random, number = log.acquire(name), Random(name), 0
        while not over.is_set():
            count = random.randint(1, 4)
            log.append(name, epoch, [entry(number + one) for one in range(count)])
            number += count
            if random.random() < 0.1:
                log.heartbeat(name, epoch)
        done[name] = number
        log.release(name, epoch, "stopped")

    writers = [threading.Thread(target=write, args=(name,)) for name in logs]
    for writer in writers:
        writer.start()
    reader = PostgresqlLog(place)
    try:
        for round_ in range(3):
            _progress(reader)
            server.restart()
            for _ in range(10):
                _progress(reader)
                _kill_backends(server)
            assert reader.request("a", "extend", {"trials": round_}) > 0
    finally:
        over.set()
        for writer in writers:
            writer.join()
    for name in logs:
        assert [one.trial for one in reader.entries(name, kinds=("note",))] == list(range(done[name]))
        whole = [one.sequence for one in reader.entries(name)]
        assert whole == list(range(1, len(whole) + 1))
        logs[name].close()
    assert len(list(reader.entries("a", kinds=("request",)))) == 3
    reader.close()


@pytest.mark.slow
def test_a_driver_that_is_frozen_in_a_transaction_holds_its_row_for_seconds_only(server: PostgresServer) -> None:
    log = PostgresqlLog(server.database("frozen"))
    log.create("try", {}, {})
    found: list[str] = []

    def look(cursor: psycopg.Cursor[Any]) -> None:
        row = cursor.execute("SHOW idle_in_transaction_session_timeout").fetchone()
        assert row is not None
        found.append(row[0])

    log._connection.run(look)
    log.close()
    assert found == ["20s"]


def _progress(log: PostgresqlLog) -> None:
    """Wait until both writers have written something more."""

    def notes() -> list[int]:
        return [len(list(log.entries(one.search, kinds=("note",)))) for one in log.searches()]

    limit, before = time.monotonic() + 60, notes()
    while len(now := notes()) < 2 or not all(a > b for a, b in zip(now, before or [0, 0], strict=False)):
        assert time.monotonic() < limit, "the writers do not go on"
        time.sleep(0.01)


def _kill_backends(server: PostgresServer) -> None:
    with psycopg.connect(server.place(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'crashes'")


@pytest.mark.parametrize("rest", ["@[::1/base", "%zz@host/base", "@host/base?nonsense=1"])
def test_an_address_that_is_none_is_not_repeated_with_its_password(rest: str) -> None:
    with pytest.raises(UserError, match="is no address of a PostgreSQL server") as refused:
        PostgresqlLog(f"postgresql://me:hunter2{rest}")
    assert "hunter2" not in f"{refused.value}{refused.value.__cause__}"


def test_a_server_that_says_nothing_is_named_by_its_error() -> None:
    with pytest.raises(UserError, match=r"cannot be used \(OperationalError\)"), connection.explained():
        raise psycopg.OperationalError
