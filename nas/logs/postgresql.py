"""PostgresqlLog: searches in tables of a PostgreSQL server, for drivers and readers on many machines."""

from __future__ import annotations

import difflib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, final

import psycopg

from nas.history import Entry
from nas.log import Header, Log, Snapshot, Superseded, check_name, decode, encode, refuse, request_body
from nas.process import Process
from nas.versions import versions as versions_here
from workers.errors import NotFoundError, UserError
from workers.trial import Json

# The statements at index v bring schema v to schema v + 1. What is published never changes.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE cellwright_search (name text PRIMARY KEY, created float8 NOT NULL, job text NOT NULL,"
        " versions text NOT NULL, state text NOT NULL, reason text NOT NULL, epoch integer NOT NULL, host text,"
        " pid integer, mark text, heartbeat float8 NOT NULL, last bigint NOT NULL)",
        "CREATE TABLE cellwright_entry (search text NOT NULL REFERENCES cellwright_search, sequence bigint NOT NULL,"
        " time float8 NOT NULL, kind text NOT NULL, trial bigint, body text NOT NULL, PRIMARY KEY (search, sequence))",
    ),
    (
        "CREATE TABLE cellwright_snapshot (search text NOT NULL REFERENCES cellwright_search, name text NOT NULL,"
        " sequence bigint NOT NULL, release text NOT NULL, content bytea NOT NULL, PRIMARY KEY (search, name))",
    ),
)
NOW = "extract(epoch FROM clock_timestamp())::float8"
# The heartbeat is the server's clock, and is told in the reader's, so that clocks of several machines may differ.
HEADER = (
    "SELECT name, created, job, versions, state, reason, epoch, host, pid, mark,"
    f" {NOW} - heartbeat AS age FROM cellwright_search"
)
LOCK_KEY = 0x63656C6C  # "cell": who brings the schema up to date
BATCH = 2000


@final
class PostgresqlLog(Log):
    """Three tables, whose names begin with `cellwright_`; every commit waits for the server's disk.

    Whoever writes to a search locks its row first, so that sequences are in the order of commits and a reader that has
    seen one has seen all before it.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._lock = RLock()
        with _explained():
            self._connection = psycopg.connect(place, autocommit=True, connect_timeout=10)
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def create(self, search: str, job: Json, versions: Mapping[str, str]) -> None:
        check_name(search)
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO cellwright_search VALUES (%s, %s, %s, %s, 'created', '', 0, NULL, NULL, NULL, 0, 0)"
                " ON CONFLICT DO NOTHING",
                (search, time.time(), encode(job), encode(dict(versions))),
            )
            if cursor.rowcount == 0:
                raise UserError(
                    f"there is a search {search} already: choose another name, or go on with it (`nas resume {search}`)"
                )

    def searches(self) -> list[Header]:
        with self._transaction() as cursor:
            return [_header(row) for row in cursor.execute(f"{HEADER} ORDER BY created, name").fetchall()]

    def header(self, search: str) -> Header:
        with self._transaction() as cursor:
            return self._header(cursor, search)

    def entries(self, search: str, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Entry]:
        self.header(search)
        query = (
            "SELECT sequence, time, kind, trial, body FROM cellwright_entry WHERE search = %s AND sequence > %s"
            f"{' AND kind = ANY(%s)' if kinds is not None else ''} ORDER BY sequence LIMIT {BATCH}"
        )
        wanted = () if kinds is None else (list(kinds),)
        while True:
            with self._transaction() as cursor:
                rows = cursor.execute(query, (search, after, *wanted)).fetchall()
            for sequence, when, kind, trial, body in rows:
                yield Entry(sequence, when, kind, trial, decode(body))
            if len(rows) < BATCH:
                return
            after = rows[-1][0]

    def acquire(self, search: str, force: bool = False) -> int:
        here = Process.here()
        with self._transaction() as cursor:
            header = self._header(cursor, search, lock=True)
            if header.driven() and not force:
                raise refuse(header)
            epoch = header.epoch + 1
            cursor.execute(
                "UPDATE cellwright_search SET state = 'running', reason = '', epoch = %s, host = %s, pid = %s,"
                f" mark = %s, heartbeat = {NOW} WHERE name = %s",
                (epoch, here.host, here.pid, here.mark, search),
            )
            body = {"epoch": epoch, "host": here.host, "pid": here.pid, "versions": versions_here()}
            _insert(cursor, search, [Entry(0, time.time(), "driver", None, body)])
        return epoch

    def append(self, search: str, epoch: int, entries: Sequence[Entry]) -> int:
        with self._transaction() as cursor:
            _fence(cursor, search, epoch)
            return _insert(cursor, search, entries)

    def heartbeat(self, search: str, epoch: int) -> None:
        with self._transaction() as cursor:
            _fence(cursor, search, epoch)
            cursor.execute(f"UPDATE cellwright_search SET heartbeat = {NOW} WHERE name = %s", (search,))

    def release(self, search: str, epoch: int, state: str, reason: str = "") -> None:
        with self._transaction() as cursor:
            _fence(cursor, search, epoch)
            _insert(cursor, search, [Entry(0, time.time(), "state", None, {"state": state, "reason": reason})])
            cursor.execute(
                f"UPDATE cellwright_search SET state = %s, reason = %s, heartbeat = {NOW} WHERE name = %s",
                (state, reason, search),
            )

    def request(self, search: str, kind: str, body: Mapping[str, Json]) -> int:
        wanted = Entry(0, time.time(), "request", None, request_body(kind, body))
        with self._transaction() as cursor:
            self._header(cursor, search, lock=True)
            return _insert(cursor, search, [wanted])

    def snapshot(self, search: str, name: str) -> Snapshot | None:
        query = "SELECT name, sequence, release, content FROM cellwright_snapshot WHERE search = %s AND name = %s"
        with self._transaction() as cursor:
            row = cursor.execute(query, (search, name)).fetchone()
        return None if row is None else Snapshot(*row)

    def keep(self, search: str, epoch: int, snapshot: Snapshot) -> None:
        with self._transaction() as cursor:
            _fence(cursor, search, epoch)
            cursor.execute(
                "INSERT INTO cellwright_snapshot VALUES (%s, %s, %s, %s, %s) ON CONFLICT (search, name) DO UPDATE"
                " SET sequence = excluded.sequence, release = excluded.release, content = excluded.content",
                (search, snapshot.name, snapshot.sequence, snapshot.release, snapshot.content),
            )

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Cursor[Any]]:
        with self._lock, _explained(), self._connection.transaction(), self._connection.cursor() as cursor:
            yield cursor

    def _header(self, cursor: psycopg.Cursor[Any], search: str, lock: bool = False) -> Header:
        query = f"{HEADER} WHERE name = %s{' FOR UPDATE' if lock else ''}"
        row = cursor.execute(query, (search,)).fetchone()
        if row is None:
            names = [name for (name,) in cursor.execute("SELECT name FROM cellwright_search ORDER BY created")]
            near = difflib.get_close_matches(search, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[-5:])}" if names else "none is"
            raise NotFoundError(f"there is no search {search!r} on this server: {hint}")
        return _header(row)

    def _migrate(self) -> None:
        with self._transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            cursor.execute("CREATE TABLE IF NOT EXISTS cellwright_schema (version integer NOT NULL)")
            row = cursor.execute("SELECT version FROM cellwright_schema").fetchone()
            version = row[0] if row else 0
            if version > len(MIGRATIONS):
                raise UserError(
                    f"the server has schema {version}, and this version of Cellwright reads schemas up to "
                    f"{len(MIGRATIONS)}: a newer one wrote it, so use that one, or upgrade (pip install -U cellwright)"
                )
            if version < len(MIGRATIONS):
                for statements in MIGRATIONS[version:]:
                    for statement in statements:
                        cursor.execute(statement)
                cursor.execute("DELETE FROM cellwright_schema")
                cursor.execute("INSERT INTO cellwright_schema VALUES (%s)", (len(MIGRATIONS),))


def _header(row: tuple[Any, ...]) -> Header:
    name, created, job, versions, state, reason, epoch, host, pid, mark, age = row
    driver = None if host is None else Process(host, pid, mark)
    heard, schema = time.time() - age, len(MIGRATIONS)
    return Header(name, created, decode(job), decode(versions), schema, state, reason, epoch, driver, heard)


def _fence(cursor: psycopg.Cursor[Any], search: str, epoch: int) -> None:
    """Lock the search's row, if the epoch is still the search's."""
    row = cursor.execute("SELECT epoch, state FROM cellwright_search WHERE name = %s FOR UPDATE", (search,)).fetchone()
    if row is None or row[0] != epoch or row[1] != "running":
        current = row[0] if row else None
        raise Superseded(f"another driver (epoch {current}) has taken over from this one (epoch {epoch})")


def _insert(cursor: psycopg.Cursor[Any], search: str, entries: Sequence[Entry]) -> int:
    """Write entries to a search whose row is locked: the sequence of the last."""
    row = cursor.execute(
        "UPDATE cellwright_search SET last = last + %s WHERE name = %s RETURNING last", (len(entries), search)
    ).fetchone()
    last: int = row[0] if row else 0
    first = last - len(entries) + 1
    rows = [(search, first + i, e.time, e.kind, e.trial, encode(e.body)) for i, e in enumerate(entries)]
    cursor.executemany("INSERT INTO cellwright_entry VALUES (%s, %s, %s, %s, %s, %s)", rows)
    return last


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the server says into what a person can do."""
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise UserError(
            "the disk of the PostgreSQL server is full: make room, then `nas resume`; what had finished is kept"
        ) from error
    except psycopg.OperationalError as error:
        raise UserError(
            f"the PostgreSQL server cannot be used ({str(error).strip().splitlines()[0]}): check that it runs, the "
            "address (--journal or NAS_HOME: postgresql://USER@HOST:PORT/DATABASE) and the password (PGPASSWORD)"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(f"{error.diag.message_primary}: the PostgreSQL user must be allowed to make tables") from error
