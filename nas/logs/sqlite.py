"""SqliteLog: a folder of searches, each with its journal in one file of SQLite."""

from __future__ import annotations

import difflib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from sqlite3 import Connection
from threading import RLock
from typing import final
from zlib import crc32

from nas.history import Entry
from nas.log import (
    NAME,
    FullError,
    Header,
    Log,
    Snapshot,
    Superseded,
    check_name,
    durable,
    encode,
    refuse,
    request_body,
)
from nas.logs.database import INSERT, ROWS, Database, cause, checksum, entry, header_checksum
from nas.process import Process
from nas.salvage import repair, salvage
from nas.versions import versions as versions_here
from workers.errors import DamagedError, NotFoundError, UserError
from workers.trial import Json

FILE = "journal.sqlite"
SNAPSHOT = "SELECT name, sequence, release, content, checksum FROM snapshot WHERE name = ?"
FENCE = "SELECT epoch, state, (SELECT max(sequence) FROM entry) FROM search"
OPEN = 32  # searches whose files stay open though only their headers were read; each has three
BATCH = 2000  # rows per read: a reader holds no transaction while its caller thinks


@final
class SqliteLog(Log):
    """`<folder>/<search>/journal.sqlite` in WAL mode: readers and the one writer do not wait for each other.

    A commit survives the death of any process, and of the machine where the job says `durability: full`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder
        self._open: dict[str, Database] = {}
        self._checked: set[str] = set()
        self._lock = RLock()

    def create(self, search: str, job: Json, versions: Mapping[str, str]) -> None:
        check_name(search)
        database = self._database(search, create=True)
        database.migrate()
        texts = (encode(job), encode(dict(versions)))
        with database.transaction() as connection:
            if connection.execute("SELECT 1 FROM search").fetchone():
                raise UserError(
                    f"there is a search {search} already: choose another name, or go on with it (`nas resume {search}`)"
                )
            connection.execute(
                "INSERT INTO search VALUES (?, ?, ?, ?, 'created', '', 0, NULL, NULL, NULL, 0, ?)",
                (search, time.time(), *texts, header_checksum(search, *texts)),
            )

    def searches(self) -> list[Header]:
        headers = []
        for path in sorted(self.folder.glob(f"*/{FILE}")):
            try:
                header = self._looked_at(path.parent.name)
            except UserError as error:  # one bad file must not hide the others
                header = Header(path.parent.name, path.stat().st_mtime, {}, {}, 0, "damaged", str(error))
            if header is not None:
                headers.append(header)
        return sorted(headers, key=lambda header: header.created)

    def header(self, search: str) -> Header:
        if (header := self._known(search).header()) is None:
            raise self._missing(search)
        return header

    def entries(self, search: str, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Entry]:
        database = self._known(search)
        wanted = f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds is not None else ""
        query = f"{ROWS}{wanted} ORDER BY sequence LIMIT {BATCH}"
        while True:
            with database.lock, database.explained():
                rows = database.connection.execute(query, (after, *(kinds or ()))).fetchall()
            for row in rows:
                yield entry(row, database.path)
            if len(rows) < BATCH:
                return
            after = rows[-1][0]

    def check(self, search: str, force: bool = False) -> None:
        if search not in self._checked:
            self._sound(search, force)
            self._checked.add(search)

    def findings(self, search: str) -> list[str]:
        if (known := self._open.get(search)) is not None:
            return known.findings()
        try:
            with closing(Database(self.folder / search / FILE)) as database:
                return database.findings()
        except DamagedError as error:
            return [cause(error)]

    def acquire(self, search: str, force: bool = False) -> int:
        self.check(search, force)
        database = self._known(search)
        database.migrate()
        with database.transaction() as connection:
            if (header := database.header()) is None:
                raise self._missing(search)
            if header.driven() and not force:
                raise refuse(header)
            here, now, epoch = Process.here(), time.time(), header.epoch + 1
            connection.execute(
                "UPDATE search SET state = 'running', reason = '', epoch = ?, host = ?, pid = ?, mark = ?,"
                " heartbeat = ?",
                (epoch, here.host, here.pid, here.mark, now),
            )
            body = {"epoch": epoch, "host": here.host, "pid": here.pid, "versions": versions_here()}
            _insert(connection, [Entry(0, now, "driver", None, body)])
        database.durability(durable(header.job))
        database.reserve()
        return epoch

    def append(self, search: str, epoch: int, entries: Sequence[Entry]) -> int:
        database = self._known(search)
        try:
            return self._append(database, epoch, entries)
        except FullError as error:
            if not database.spend():
                raise
            self._append(database, epoch, entries)  # what has finished is written; then the driver must end
            raise FullError(str(error), written=True) from error

    def heartbeat(self, search: str, epoch: int) -> None:
        with self._known(search).transaction() as connection:
            _fence(connection, epoch)
            connection.execute("UPDATE search SET heartbeat = ?", (time.time(),))

    def release(self, search: str, epoch: int, state: str, reason: str = "") -> None:
        now = time.time()
        with self._known(search).transaction() as connection:
            _fence(connection, epoch)
            connection.execute("UPDATE search SET state = ?, reason = ?, heartbeat = ?", (state, reason, now))
            _insert(connection, [Entry(0, now, "state", None, {"state": state, "reason": reason})])

    def request(self, search: str, kind: str, body: Mapping[str, Json]) -> int:
        wanted = Entry(0, time.time(), "request", None, request_body(kind, body))
        with self._known(search).transaction() as connection:
            _insert(connection, [wanted])
            sequence: int = connection.execute("SELECT max(sequence) FROM entry").fetchone()[0]
        return sequence

    def snapshot(self, search: str, name: str) -> Snapshot | None:
        database = self._known(search)
        with database.lock, database.explained():
            row = database.connection.execute(SNAPSHOT, (name,)).fetchone() if database.schema > 1 else None
        kinds = (str, int, str, bytes)  # SQLite keeps anything in any column
        if row is None or not all(map(isinstance, row, kinds)) or crc32(row[3]) != row[4]:
            return None
        return Snapshot(*row[:4])

    def keep(self, search: str, epoch: int, snapshot: Snapshot) -> None:
        row = (snapshot.name, snapshot.sequence, snapshot.release, snapshot.content, crc32(snapshot.content))
        with self._known(search).transaction() as connection:
            _fence(connection, epoch)
            connection.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        with self._lock:
            for database in self._open.values():
                database.close()
            self._open.clear()
            self._checked.clear()

    def _append(self, database: Database, epoch: int, entries: Sequence[Entry]) -> int:
        with database.transaction() as connection:
            last = _fence(connection, epoch)
            _insert(connection, entries)
        return last + len(entries)

    def _database(self, search: str, create: bool = False) -> Database:
        with self._lock:
            if search not in self._open:
                self._open[search] = Database(self.folder / search / FILE, create)
            return self._open[search]

    def _looked_at(self, search: str) -> Header | None:
        """The header of one among many searches; only the first few files stay open, a process may not have more."""
        with self._lock:
            if search in self._open or len(self._open) < OPEN:
                return self._database(search).header()
        with closing(Database(self.folder / search / FILE)) as database:
            return database.header()

    def _known(self, search: str) -> Database:
        if search in self._open:
            return self._open[search]
        if not NAME.fullmatch(search) or not (self.folder / search / FILE).is_file():
            raise self._missing(search)
        database = self._database(search)
        if database.schema:
            database.migrate()
        return database

    def _missing(self, search: str) -> NotFoundError:
        names = [header.search for header in self.searches()]
        near = difflib.get_close_matches(search, names, n=1)
        hint = (
            f"did you mean {near[0]}?" if near else f"there are {', '.join(names[-5:])}" if names else "there is none"
        )
        return NotFoundError(f"there is no search {search!r} in {self.folder}: {hint}")

    def _sound(self, search: str, force: bool) -> None:
        """Check the file; a damaged one is salvaged beside, and with `force` replaced by what was salvaged."""
        path = self.folder / search / FILE
        try:
            findings = self._known(search).findings()
        except DamagedError as error:
            findings = [cause(error)]
        if not findings:
            return
        with self._lock:
            if search in self._open:
                if force:  # a driver may be writing still: let it know
                    with suppress(UserError), self._open[search].transaction() as connection:
                        connection.execute("UPDATE search SET epoch = epoch + 1")
                self._open.pop(search).close()
        if force:
            repair(path)
            return
        saved = salvage(path, path.with_name("salvaged.sqlite"))
        raise DamagedError(
            f"{path} is damaged ({findings[0]}): {saved}. `nas resume {search} --force` goes on with what was salvaged "
            "and keeps the damaged file beside it"
        )


def _fence(connection: Connection, epoch: int) -> int:
    """The last sequence, if the epoch is still the search's."""
    current, state, last = connection.execute(FENCE).fetchone()
    if current != epoch or state != "running":
        raise Superseded(f"another driver (epoch {current}) has taken over from this one (epoch {epoch})")
    return last or 0


def _insert(connection: Connection, entries: Sequence[Entry]) -> None:
    rows = []
    for one in entries:
        body = encode(one.body)
        rows.append((one.time, one.kind, one.trial, body, checksum(one.kind, one.trial, body)))
    connection.executemany(INSERT, rows)
