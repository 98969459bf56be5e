"""PostgresqlLog: searches in tables of a PostgreSQL server, for drivers and readers on many machines."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Any, final

from nas.history import Entry
from nas.log import Header, Log, Snapshot, Superseded, check_name, decode, encode, refuse, request_body
from nas.logs.connection import PATIENCE, Connection, Cursor
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
    seen one has seen all before it. A server that restarts is waited for, `patience` seconds at most; what was
    committed when the connection broke is found out under that lock, and not written again.
    """

    def __init__(self, place: str, patience: float = PATIENCE) -> None:
        self.place = place
        self._connection = Connection(place, patience)
        self._doubt: dict[tuple[str, int], _Doubt] = {}  # by search, and the thread that writes to it
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def create(self, search: str, job: Json, versions: Mapping[str, str]) -> None:
        check_name(search)
        row = (search, time.time(), encode(job), encode(dict(versions)))
        tried = False

        def insert(cursor: Cursor) -> bool:
            nonlocal tried
            tried, before = True, tried
            cursor.execute(
                "INSERT INTO cellwright_search VALUES (%s, %s, %s, %s, 'created', '', 0, NULL, NULL, NULL, 0, 0)"
                " ON CONFLICT DO NOTHING",
                row,
            )
            if cursor.rowcount or not before:
                return bool(cursor.rowcount)
            ours = "SELECT name, created, job, versions FROM cellwright_search WHERE name = %s"
            return cursor.execute(ours, (search,)).fetchone() == row

        if not self._connection.run(insert):
            raise UserError(
                f"there is a search {search} already: choose another name, or go on with it (`nas resume {search}`)"
            )

    def searches(self) -> list[Header]:
        rows = self._rows(f"{HEADER} ORDER BY created, name")
        return [_header(row) for row in rows]

    def header(self, search: str) -> Header:
        return self._connection.run(lambda cursor: _find(cursor, search))

    def entries(self, search: str, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Entry]:
        self.header(search)
        query = (
            "SELECT sequence, time, kind, trial, body FROM cellwright_entry WHERE search = %s AND sequence > %s"
            f"{' AND kind = ANY(%s)' if kinds is not None else ''} ORDER BY sequence LIMIT {BATCH}"
        )
        wanted = () if kinds is None else (list(kinds),)
        while True:
            rows = self._rows(query, search, after, *wanted)
            for sequence, when, kind, trial, body in rows:
                yield Entry(sequence, when, kind, trial, decode(body))
            if len(rows) < BATCH:
                return
            after = rows[-1][0]

    def acquire(self, search: str, force: bool = False) -> int:
        here = Process.here()
        us, tried = (here.host, here.pid, here.mark), 0

        def take(cursor: Cursor) -> int:
            nonlocal tried
            header = _find(cursor, search, lock=True)
            if tried and (header.epoch, header.driver) == (tried, here):
                return tried
            if header.driven() and not force:
                raise refuse(header)
            epoch = tried = header.epoch + 1
            cursor.execute(
                "UPDATE cellwright_search SET state = 'running', reason = '', epoch = %s, host = %s, pid = %s,"
                f" mark = %s, heartbeat = {NOW} WHERE name = %s",
                (epoch, *us, search),
            )
            body = {"epoch": epoch, "host": here.host, "pid": here.pid, "versions": versions_here()}
            _insert(cursor, search, [Entry(0, time.time(), "driver", None, body)])
            return epoch

        return self._connection.run(take)

    def append(self, search: str, epoch: int, entries: Sequence[Entry]) -> int:
        return self._write(search, entries, lambda cursor: _fence(cursor, search, epoch))

    def heartbeat(self, search: str, epoch: int) -> None:
        def beat(cursor: Cursor) -> None:
            _fence(cursor, search, epoch)
            cursor.execute(f"UPDATE cellwright_search SET heartbeat = {NOW} WHERE name = %s", (search,))

        self._connection.run(beat)

    def release(self, search: str, epoch: int, state: str, reason: str = "") -> None:
        said = Entry(0, time.time(), "state", None, {"state": state, "reason": reason})
        tried = False

        def let_go(cursor: Cursor) -> None:
            nonlocal tried
            header = _find(cursor, search, lock=True)
            if tried and (header.epoch, header.state, header.reason) == (epoch, state, reason):
                return
            tried = True
            _fence(cursor, search, epoch)
            _insert(cursor, search, [said])
            cursor.execute(
                f"UPDATE cellwright_search SET state = %s, reason = %s, heartbeat = {NOW} WHERE name = %s",
                (state, reason, search),
            )

        self._connection.run(let_go)

    def request(self, search: str, kind: str, body: Mapping[str, Json]) -> int:
        wanted = Entry(0, time.time(), "request", None, request_body(kind, body))
        return self._write(search, [wanted], lambda cursor: _find(cursor, search, lock=True))

    def snapshot(self, search: str, name: str) -> Snapshot | None:
        query = "SELECT name, sequence, release, content FROM cellwright_snapshot WHERE search = %s AND name = %s"
        rows = self._rows(query, search, name)
        return Snapshot(*rows[0]) if rows else None

    def keep(self, search: str, epoch: int, snapshot: Snapshot) -> None:
        def put(cursor: Cursor) -> None:
            _fence(cursor, search, epoch)
            cursor.execute(
                "INSERT INTO cellwright_snapshot VALUES (%s, %s, %s, %s, %s) ON CONFLICT (search, name) DO UPDATE"
                " SET sequence = excluded.sequence, release = excluded.release, content = excluded.content",
                (search, snapshot.name, snapshot.sequence, snapshot.release, snapshot.content),
            )

        self._connection.run(put)

    def close(self) -> None:
        self._connection.close()

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.run(lambda cursor: cursor.execute(query, values).fetchall())

    def _write(self, search: str, entries: Sequence[Entry], lock: Callable[[Cursor], object]) -> int:
        """Write entries, each once, however often the connection breaks, or the caller comes again with them.

        A write that nobody has heard to be committed is kept in mind; the next one, which begins with the same entries
        then, looks for it once the row is locked, and so once what had locked it before has been decided.
        """
        writer = search, get_ident()
        wanted = tuple(entries)  # the caller may lengthen its list before it comes again

        def write(cursor: Cursor) -> int:
            lock(cursor)
            doubt = self._doubt.get(writer, _Doubt(0, ()))
            there, last = doubt.there(cursor, search, wanted)
            if there == len(wanted):
                return last
            self._doubt[writer] = _Doubt(there, wanted, _last(cursor, search))
            return _insert(cursor, search, wanted[there:])

        last = self._connection.run(write)
        self._doubt.pop(writer, None)
        return last

    def _migrate(self) -> None:
        def migrate(cursor: Cursor) -> None:
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

        self._connection.run(migrate)


@final
@dataclass(frozen=True, slots=True)
class _Doubt:
    """A write of `entries` behind the sequence `last`, without its first `before`, of whose end nobody has heard."""

    before: int
    entries: tuple[Entry, ...]
    last: int = 0

    def there(self, cursor: Cursor, search: str, wanted: tuple[Entry, ...]) -> tuple[int, int]:
        """How many of `wanted` are written, and where the last of them is; the search's row is locked."""
        count = len(self.entries)
        if not count or wanted[:count] != self.entries:
            return 0, 0
        first = self.entries[self.before]
        row = cursor.execute(
            "SELECT time, kind, trial, body FROM cellwright_entry WHERE search = %s AND sequence = %s",
            (search, self.last + 1),
        ).fetchone()
        if row != (first.time, first.kind, first.trial, encode(first.body)):
            return self.before, self.last
        return count, self.last + count - self.before


def _header(row: tuple[Any, ...]) -> Header:
    name, created, job, versions, state, reason, epoch, host, pid, mark, age = row
    driver = None if host is None else Process(host, pid, mark)
    heard, schema = time.time() - age, len(MIGRATIONS)
    return Header(name, created, decode(job), decode(versions), schema, state, reason, epoch, driver, heard)


def _find(cursor: Cursor, search: str, lock: bool = False) -> Header:
    query = f"{HEADER} WHERE name = %s{' FOR UPDATE' if lock else ''}"
    row = cursor.execute(query, (search,)).fetchone()
    if row is None:
        names = [name for (name,) in cursor.execute("SELECT name FROM cellwright_search ORDER BY created")]
        near = difflib.get_close_matches(search, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[-5:])}" if names else "none is"
        raise NotFoundError(f"there is no search {search!r} on this server: {hint}")
    return _header(row)


def _fence(cursor: Cursor, search: str, epoch: int) -> None:
    """Lock the search's row, if the epoch is still the search's."""
    row = cursor.execute("SELECT epoch, state FROM cellwright_search WHERE name = %s FOR UPDATE", (search,)).fetchone()
    if row is None or row[0] != epoch or row[1] != "running":
        current = row[0] if row else None
        raise Superseded(f"another driver (epoch {current}) has taken over from this one (epoch {epoch})")


def _last(cursor: Cursor, search: str) -> int:
    row = cursor.execute("SELECT last FROM cellwright_search WHERE name = %s", (search,)).fetchone()
    return row[0] if row else 0


def _insert(cursor: Cursor, search: str, entries: Sequence[Entry]) -> int:
    """Write entries to a search whose row is locked: the sequence of the last."""
    row = cursor.execute(
        "UPDATE cellwright_search SET last = last + %s WHERE name = %s RETURNING last", (len(entries), search)
    ).fetchone()
    last: int = row[0] if row else 0
    first = last - len(entries) + 1
    rows = [(search, first + i, e.time, e.kind, e.trial, encode(e.body)) for i, e in enumerate(entries)]
    cursor.executemany("INSERT INTO cellwright_entry VALUES (%s, %s, %s, %s, %s, %s)", rows)
    return last
