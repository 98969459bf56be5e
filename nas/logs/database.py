"""Database: one journal in one file of SQLite; its schema, and its errors in a person's words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import final
from zlib import crc32

from nas import machine
from nas.history import Entry
from nas.log import FullError, Header, decode
from nas.process import Process
from workers.errors import DamagedError, NotFoundError, UserError

# The statements at index v bring schema v to schema v + 1; an empty file is schema 0. What is published never changes.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE search (name TEXT NOT NULL, created REAL NOT NULL, job TEXT NOT NULL, versions TEXT NOT NULL,"
        " state TEXT NOT NULL, reason TEXT NOT NULL, epoch INTEGER NOT NULL, host TEXT, pid INTEGER, mark TEXT,"
        " heartbeat REAL NOT NULL, checksum INTEGER NOT NULL)",
        "CREATE TABLE entry (sequence INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, trial INTEGER,"
        " body TEXT NOT NULL, checksum INTEGER NOT NULL)",
    ),
    (
        "CREATE TABLE snapshot (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL, release TEXT NOT NULL,"
        " content BLOB NOT NULL, checksum INTEGER NOT NULL)",
    ),
)
HEADER = "SELECT name, created, job, versions, state, reason, epoch, host, pid, mark, heartbeat, checksum FROM search"
ROWS = "SELECT sequence, time, kind, trial, body, checksum FROM entry WHERE sequence > ?"
INSERT = "INSERT INTO entry (time, kind, trial, body, checksum) VALUES (?, ?, ?, ?, ?)"
RESERVE_BYTES = 1 << 20
PATIENCE = 30.0  # seconds to wait for another process's transaction

Row = tuple[int, float, str, int | None, str, int]


@final
class Database:
    """A connection, a lock so that threads may share it, and a reserve of disk for the day that the disk is full."""

    def __init__(self, path: Path, create: bool = False) -> None:
        self.path = path
        self.lock = RLock()
        check_place(path)
        with self.explained():
            self.connection, self.schema = _connect(path, create)
        if self.schema > len(MIGRATIONS):
            self.close()
            raise UserError(
                f"{path} has schema {self.schema}, and this version of Cellwright reads schemas up to "
                f"{len(MIGRATIONS)}: a newer one wrote it, so use that one, or upgrade (pip install -U cellwright)"
            )

    def migrate(self) -> None:
        """Bring the schema up to date, all at once."""
        if self.schema == len(MIGRATIONS):
            return
        with self.transaction() as connection:
            self.schema = connection.execute("PRAGMA user_version").fetchone()[0]
            for statements in MIGRATIONS[self.schema :]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        self.schema = len(MIGRATIONS)

    def header(self) -> Header | None:
        """The search in the file; None where creating it never came to an end."""
        with self.lock, self.explained():
            self.schema = self.schema or self.connection.execute("PRAGMA user_version").fetchone()[0]
            row = self.connection.execute(HEADER).fetchone() if self.schema else None
        if row is None:
            return None
        name, created, job, versions, state, reason, epoch, host, pid, mark, heartbeat, check = row
        if header_checksum(name, job, versions) != check:
            raise DamagedError(f"{self.path} is damaged: the job in it is not as it was written")
        driver = None if host is None else Process(host, pid, mark)
        job, versions = decode(job), decode(versions)
        return Header(name, created, job, versions, self.schema, state, reason, epoch, driver, heartbeat)

    def durability(self, full: bool) -> None:
        """Let a commit survive a loss of power (full), or only the death of any process: four times as fast here."""
        with self.lock, self.explained():
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside is written, or nothing; other writers wait."""
        with self.lock, self.explained():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what SQLite says into what a person can do."""
        try:
            yield
        except sqlite3.ProgrammingError:  # a mistake of ours, not of the disk
            raise
        except sqlite3.Error as error:
            raise _explanation(error, self.path) from error
        except UnicodeDecodeError as error:  # in a message of SQLite that quotes spoiled bytes
            raise DamagedError(f"{self.path} is damaged: `nas resume` salvages what can be read") from error

    def findings(self) -> list[str]:
        """What is wrong with the file, page by page and row by row; empty for a sound one."""
        try:
            with self.explained():
                found = [str(row[0]) for row in self.connection.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
                wrong = (row[0] for row in self.connection.execute(ROWS, (0,)) if row[5] != checksum(*row[2:5]))
                found += [f"entry {sequence} is not as it was written" for sequence in wrong]
            self.header()
        except DamagedError as error:
            return [cause(error)]
        return found

    def reserve(self) -> None:
        """Keep some disk back."""
        place = self.path.with_name("reserve")
        if not place.exists():
            try:
                with place.open("xb") as file:
                    os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
            except OSError:
                place.unlink(missing_ok=True)

    def spend(self) -> bool:
        """Give up the reserve; False where there was none."""
        place = self.path.with_name("reserve")
        there = place.exists()
        place.unlink(missing_ok=True)
        return there

    def close(self) -> None:
        with self.lock:
            self.connection.close()


def cause(error: DamagedError) -> str:
    """What was found, in SQLite's words where it was SQLite that found it."""
    return str(error.__cause__ or error)


def checksum(kind: str, trial: int | None, body: str) -> int:
    """What the disk must give back: of a row's content, beside SQLite's own checks of its pages."""
    return crc32(f"{kind} {trial} {body}".encode())


def header_checksum(name: str, job: str, versions: str) -> int:
    """The same, of what never changes in a search's header."""
    return crc32(f"{name} {job} {versions}".encode())


def entry(row: Row, path: Path) -> Entry:
    """The entry in a row."""
    sequence, time, kind, trial, body, check = row
    if checksum(kind, trial, body) != check:
        raise DamagedError(f"{path} is damaged: entry {sequence} is not as it was written; `nas resume` salvages it")
    return Entry(sequence, time, kind, trial, decode(body))


def check_place(path: Path) -> None:
    """Refuse a network's file system, where SQLite's locks and shared memory cannot be trusted."""
    if machine.over_network(kind := machine.file_system(path)):
        raise UserError(
            f"{path.parent} is on a network file system ({kind}), where SQLite loses data: keep journals on a local "
            "disk (--journal FOLDER or NAS_HOME) or in PostgreSQL (--journal postgresql://...)"
        )


def _connect(path: Path, create: bool) -> tuple[sqlite3.Connection, int]:
    """A connection, and the number of the schema that it found."""
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{path.parent} cannot be made ({error.strerror}): name a folder that can be written, with --journal "
                "or NAS_HOME"
            ) from error
    elif not path.exists():
        raise NotFoundError(f"there is no journal {path}")
    try:
        return _begin(path, f"mode={'rwc' if create else 'rw'}", wal=create)
    except sqlite3.Error:
        if create or os.access(path.parent, os.W_OK) or path.with_name(path.name + "-wal").exists():
            raise
        return _begin(path, "immutable=1")  # a folder that is only read: no shared memory, and no writer either


def _begin(path: Path, how: str, wal: bool = False) -> tuple[sqlite3.Connection, int]:
    connection = _open(path, how)
    try:
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return connection, connection.execute("PRAGMA user_version").fetchone()[0]
    except BaseException:
        connection.close()
        raise


def _open(path: Path, how: str) -> sqlite3.Connection:
    name = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(
        f"file:{name}?{how}", uri=True, isolation_level=None, timeout=PATIENCE, check_same_thread=False
    )


def _explanation(error: sqlite3.Error, path: Path) -> UserError:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return FullError(
            f"the disk of {path.parent} is full: make room (`nas gc` removes what no search needs), then `nas resume`; "
            "what had finished is in the journal"
        )
    if name.startswith("SQLITE_IOERR"):
        return FullError(
            f"{path} cannot be written or read ({error}): a failing or full disk, or a limit on the size of files; "
            "mend it, then `nas resume`; what was committed is in the journal"
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return UserError(
            f"{path} cannot be written ({error}): run as its owner, or copy {path.parent} to a folder that can be "
            "written and name that with --journal"
        )
    if name.startswith("SQLITE_BUSY"):
        return UserError(f"{path} has been locked by another program for {PATIENCE:.0f} s: end that one, and try again")
    return DamagedError(f"{path} is damaged ({error}): `nas resume` salvages what can be read")
