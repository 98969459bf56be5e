"""What goes wrong with a file of SQLite is found, said with a remedy, and loses nothing."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tallying import ScriptedPool, Tally, in_child

from nas import machine
from nas.history import Entry
from nas.journal import Journal
from nas.log import STALE, FullError, Log
from nas.logs import database
from nas.logs.sqlite import FILE, OPEN, SqliteLog
from nas.search import search
from workers.errors import UserError

Require = Callable[[str, bool, str], None]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path)
    log.create("try", {}, {})
    yield log
    log.close()


def note(number: int) -> Entry:
    return Entry(0, 0.0, "note", number, {"text": "x" * 1000})


def fill(log: Log, epoch: int, most: int) -> int:
    """Append until the disk is full: how many entries were written for certain."""
    for number in range(most):
        try:
            log.append("try", epoch, [note(number)])
        except FullError:
            return number
    raise AssertionError("it never got full")


def notes(log: Log) -> list[int | None]:
    return [one.trial for one in log.entries("try", kinds=("note",))]


@pytest.fixture
def small_disk(tmp_path: Path, require: Require) -> Iterator[Path]:
    """A file system of 3 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True)
    require("mount", mounted.returncode == 0, "a small file system cannot be mounted here: it takes root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_takes_the_last_turn_out_of_its_reserve(small_disk: Path) -> None:
    log = SqliteLog(small_disk)
    log.create("try", {}, {})
    epoch = log.acquire("try")
    written = fill(log, epoch, 5000)
    assert written > 100
    assert notes(log) == list(range(written + 1))  # the turn that met the full disk is there
    log.release("try", epoch, "interrupted", "the disk is full")
    assert log.header("try").state == "interrupted"
    log.close()


def test_a_full_disk_loses_nothing_that_was_committed(small_disk: Path) -> None:
    log = SqliteLog(small_disk)
    log.create("try", {}, {})
    epoch = log.acquire("try")
    (small_disk / "try" / "reserve").unlink()
    written = fill(log, epoch, 5000)
    with pytest.raises(UserError, match=r"the disk of .* is full: make room .*nas resume"):
        log.append("try", epoch, [note(written), note(written + 1)])
    assert notes(log) == list(range(written))
    log.close()
    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    again = SqliteLog(small_disk)
    epoch = again.acquire("try", force=True)
    again.append("try", epoch, [note(written)])
    assert notes(again) == list(range(written + 1))
    again.close()


def test_a_full_disk_ends_a_search_and_nothing_is_written_twice(small_disk: Path) -> None:
    log = SqliteLog(small_disk)
    log.create("try", {}, {})
    journal = Journal(log, "try", log.acquire("try"), pulse=None)
    pool = ScriptedPool(2)
    with pytest.raises(FullError):
        search(Tally(100_000), pool, journal)
    journal.release("failed", "the disk is full")
    counts = Counter((one.kind, one.trial) for one in log.entries("try") if one.kind in ("ask", "attempt", "tell"))
    assert set(counts.values()) == {1}
    assert {attempt.trial.id for attempt in pool.submitted} <= {trial for kind, trial in counts if kind == "tell"}
    assert log.header("try").state == "failed"
    log.close()


def test_a_limit_on_files_loses_nothing_that_was_committed(log: SqliteLog, tmp_path: Path) -> None:
    log.close()

    def work() -> int:
        mine = SqliteLog(tmp_path)
        epoch = mine.acquire("try")
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        return fill(mine, epoch, 1000)

    status, written = in_child(work)
    assert status == 0, written
    assert written > 20
    log.acquire("try")
    assert notes(log)[:written] == list(range(written))
    assert len(notes(log)) <= written + 1


def as_nobody(work: Callable[[], object]) -> object:
    """The answer of `work` when done by a user who owns nothing."""

    def demoted() -> object:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return work()

    status, said = in_child(demoted)
    assert status == 0, said
    return said


@pytest.fixture
def guarded() -> Iterator[Path]:
    """A search in folders that nobody may write to, but everybody may read."""
    folder = Path(tempfile.mkdtemp())
    log = SqliteLog(folder)
    log.create("try", {"seed": 3}, {})
    log.append("try", log.acquire("try"), [note(1)])
    log.close()
    for place in (folder / "try", folder):
        place.chmod(0o555)
    (folder / "try" / FILE).chmod(0o444)
    yield folder
    for place in (folder, folder / "try"):
        place.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_is_only_read_can_be_read(guarded: Path) -> None:
    def work() -> object:
        log = SqliteLog(guarded)
        return [log.header("try").job, notes(log), [one.search for one in log.searches()]]

    assert as_nobody(work) == [{"seed": 3}, [1], ["try"]]


ACTS: dict[str, Callable[[Log], object]] = {
    "create": lambda log: log.create("other", {}, {}),
    "acquire": lambda log: log.acquire("try", force=True),
    "request": lambda log: log.request("try", "stop", {}),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_folder_that_is_only_read_is_not_written(guarded: Path, act: str) -> None:
    def work() -> object:
        log = SqliteLog(guarded)
        with pytest.raises(UserError) as raised:
            ACTS[act](log)
        return str(raised.value)

    said = str(as_nobody(work))
    assert "cannot be" in said
    assert "--journal" in said


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "file_system", lambda place: "nfs4")
    with pytest.raises(UserError, match=r"network file system \(nfs4\).*local disk.*postgresql://"):
        SqliteLog(tmp_path).create("try", {}, {})
    assert not list(tmp_path.iterdir())


def test_a_schema_of_a_later_version_is_refused(log: SqliteLog, tmp_path: Path) -> None:
    log.close()
    with closing(sqlite3.connect(tmp_path / "try" / FILE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match=rf"has schema 99, .* up to {len(database.MIGRATIONS)}: a newer one wrote it"):
        log.header("try")
    (listed,) = log.searches()
    assert (listed.search, listed.state) == ("try", "damaged")


def test_an_older_schema_is_brought_up_to_date(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("try", log.acquire("try"), [note(1), note(2)])
    log.close()
    added = ("ALTER TABLE entry ADD COLUMN weight INTEGER", "UPDATE entry SET weight = 3 * trial")
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, added))
    assert notes(log) == [1, 2]
    assert log.header("try").schema == len(database.MIGRATIONS)
    rows = log._known("try").connection.execute("SELECT weight FROM entry WHERE kind = 'note'").fetchall()
    assert rows == [(3,), (6,)]


def test_a_migration_that_fails_changes_nothing(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("try", log.acquire("try"), [note(1)])
    log.close()
    before = len(database.MIGRATIONS)
    with monkeypatch.context() as changed:
        wrong = ("ALTER TABLE entry ADD COLUMN weight INTEGER", "UPDATE nothing SET weight = 1")
        changed.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, wrong))
        with pytest.raises(UserError):
            notes(log)
        log.close()
    assert notes(log) == [1]
    assert log.header("try").schema == before


def test_a_creation_that_never_ended_is_no_search(log: SqliteLog, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    sqlite3.connect(tmp_path / "half" / FILE).close()
    (tmp_path / "half" / FILE).touch()
    assert [one.search for one in log.searches()] == ["try"]
    with pytest.raises(UserError, match="no search 'half'"):
        log.header("half")
    log.create("half", {}, {})
    assert log.header("half").state == "created"


@pytest.mark.parametrize(("job", "level"), [({}, 1), ({"journal": {"durability": "full"}}, 2), ({"journal": "x"}, 1)])
def test_durability_is_as_the_job_says(log: SqliteLog, job: object, level: int) -> None:
    log.create("other", job, {})
    log.acquire("other")
    (found,) = log._known("other").connection.execute("PRAGMA synchronous").fetchone()
    assert found == level  # 1: NORMAL, 2: FULL, in SQLite's manual


def test_a_driver_elsewhere_is_believed_until_it_is_silent(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.acquire("try")
    connection = log._known("try").connection
    connection.execute("UPDATE search SET host = 'elsewhere', pid = 1, mark = 'another kernel/1/1'")
    with pytest.raises(UserError, match="process 1 on elsewhere"):
        log.acquire("try")
    connection.execute("UPDATE search SET heartbeat = heartbeat - ?", (STALE + 1,))
    assert log.acquire("try") == 2


def test_a_look_at_many_searches_opens_few_of_their_files(tmp_path: Path) -> None:
    for number in range(OPEN + 20):
        with closing(SqliteLog(tmp_path)) as log:
            log.create(f"s-{number}", {}, {})
    with closing(SqliteLog(tmp_path)) as log:
        assert len(log.searches()) == OPEN + 20
        assert len(log.searches()) == OPEN + 20
        assert len(log._open) <= OPEN
        held = [entry for entry in Path("/proc/self/fd").iterdir() if str(tmp_path) in str(entry.resolve())]
        assert len(held) <= 3 * OPEN
