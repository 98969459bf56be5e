"""Salvage: what can still be read of a damaged journal, written to a new file, and what cannot, said."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from nas.log import encode
from nas.logs.database import HEADER, INSERT, ROWS, Database, Row, checksum, header_checksum
from workers.errors import DamagedError, UserError

PARTS = ("", "-wal", "-shm")  # a database of SQLite in WAL mode
FAR = 1 << 40
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)  # the latter where SQLite quotes spoiled bytes
PAGE = 4096  # bytes; SQLite's default, which the schema keeps


@final
@dataclass(frozen=True, slots=True)
class Salvaged:
    """How many entries were kept, and the sequences that are missing before the last one kept."""

    path: Path
    kept: int
    lost: tuple[range, ...]

    @property
    def loss(self) -> str:
        """What is lost, in words."""
        if not self.kept:
            return "so that only the job is left of the search"
        count = sum(map(len, self.lost))
        spans = ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]} to {s[-1]}" for s in self.lost)
        return f"{count} are lost ({spans})" if count else "none before the last of them is lost"

    def __str__(self) -> str:
        return f"{self.kept} entries were salvaged into {self.path}, {self.loss}"


def salvage(damaged: Path, target: Path) -> Salvaged:
    """Write all readable entries of `damaged`, which is only read, to a new database `target`.

    DamagedError where not even the search's header can be read.
    """
    _remove(target)
    with closing(Database(target, create=True)) as database:
        database.migrate()
        try:
            header, rows = _rescue(damaged, database)
        except UNREADABLE as error:
            database.close()
            _remove(target)
            raise DamagedError(
                f"{damaged} is damaged beyond what can be salvaged ({error}): restore it from a copy, or start the "
                "search anew under another name"
            ) from error
        except OSError as error:
            raise UserError(
                f"{damaged} cannot be copied beside itself ({error.strerror}): make room there first"
            ) from error
        saved = Salvaged(target, len(rows), tuple(_gaps([row[0] for row in rows])))
        with database.transaction() as connection:
            connection.execute(f"INSERT INTO search VALUES ({', '.join('?' * len(header))})", header)
            connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", rows)
            body = encode({"text": f"{damaged.name} was damaged: {saved.kept} entries were salvaged, {saved.loss}"})
            note = (time.time(), "note", None, body, checksum("note", None, body))
            connection.execute(INSERT, note)
    return saved


def repair(damaged: Path) -> Salvaged:
    """Put what can be salvaged in the place of `damaged`, which moves to a folder `damaged-N` beside it."""
    saved = salvage(damaged, damaged.with_name("salvaged.sqlite"))
    number = next(n for n in range(1, FAR) if not damaged.with_name(f"damaged-{n}").exists())
    aside = damaged.with_name(f"damaged-{number}")
    try:
        aside.mkdir()
        for part in PARTS:
            if (piece := damaged.with_name(damaged.name + part)).exists():
                piece.rename(aside / piece.name)
        saved.path.rename(damaged)
    except OSError as error:
        raise UserError(
            f"{damaged} cannot be moved to {aside} ({error.strerror}): make {damaged.parent} writable"
        ) from error
    return saved


def _rescue(damaged: Path, fresh: Database) -> tuple[tuple[Any, ...], list[Row]]:
    """The header and the rows of a copy that may be changed."""
    copy = fresh.path.with_name(f"copy-{fresh.path.name}")
    try:
        for part in PARTS[:2]:
            if (piece := damaged.with_name(damaged.name + part)).exists():
                shutil.copyfile(piece, copy.with_name(copy.name + part))
        return _mend(copy, fresh)
    finally:
        _remove(copy)


def _mend(copy: Path, fresh: Database) -> tuple[tuple[Any, ...], list[Row]]:
    """The header and the rows: of the copy as it is, or with the first page of a new database where that gives more.

    A table whose name is spoiled there is missing, and its rows with it, although all of its pages are sound.
    """
    _count_pages(copy)
    try:
        found = _read(copy)
    except UNREADABLE:
        found = None
    fresh.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with copy.open("r+b") as file:  # a schema that is created alike begins at the same pages
        file.write(fresh.path.read_bytes()[:PAGE])
    _count_pages(copy)
    try:
        other = _read(copy)
    except UNREADABLE:
        if found is None:
            raise
        return found
    return other if found is None or len(other[1]) > len(found[1]) else found


def _read(copy: Path) -> tuple[tuple[Any, ...], list[Row]]:
    source = sqlite3.connect(copy, isolation_level=None)
    try:
        header = source.execute(HEADER).fetchone()
        if header is None or header_checksum(header[0], header[2], header[3]) != header[-1]:
            raise sqlite3.DatabaseError("the job in it is lost")
        return header, ordered(list(readable(source)))
    finally:
        source.close()


def _count_pages(copy: Path) -> None:
    """Write the number of pages that are there into the file's header: SQLite opens no file that is too short."""
    with copy.open("r+b") as file:
        pages = file.seek(0, os.SEEK_END) // PAGE
        file.seek(28)
        file.write(pages.to_bytes(4, "big"))


def readable(source: sqlite3.Connection) -> Iterator[Row]:
    """Every row that is as it was written, in order, stepping over what cannot be read."""
    after = 0
    while True:
        try:
            for row in source.execute(f"{ROWS} ORDER BY sequence", (after,)):
                after = row[0]
                if _sound(row):
                    yield row
            return
        except UNREADABLE:
            following = _beyond(source, after)
            if following is None:
                return
            after = following


def ordered(rows: Sequence[Row]) -> list[Row]:
    """The rows whose numbers can be trusted, which no checksum covers: a spoiled one is there twice, or out of order.

    Of what is left, the most that rises.
    """
    counts = Counter(row[0] for row in rows)
    single = [row for row in rows if counts[row[0]] == 1 and row[0] > 0]
    ends: list[int] = []  # of rising rows: the least last number of each length, and the place of its row
    places: list[int] = []
    before: list[int] = []
    for place, row in enumerate(single):
        length = bisect_left(ends, row[0])
        ends[length:] = [row[0], *ends[length + 1 :]]
        places[length:] = [place, *places[length + 1 :]]
        before.append(places[length - 1] if length else -1)
    kept, place = [], places[-1] if places else -1
    while place >= 0:
        kept.append(single[place])
        place = before[place]
    return kept[::-1]


def _beyond(source: sqlite3.Connection, after: int) -> int | None:
    """The smallest distance to step over so that reading works again; None where it does not."""
    step = 1
    while not _reads(source, after + step):
        step *= 2
        if step > FAR:
            return None
    low = step // 2
    while step - low > 1:
        middle = (low + step) // 2
        if _reads(source, after + middle):
            step = middle
        else:
            low = middle
    return after + step


def _reads(source: sqlite3.Connection, after: int) -> bool:
    try:
        source.execute(f"{ROWS} ORDER BY sequence LIMIT 1", (after,)).fetchone()
    except UNREADABLE:
        return False
    return True


def _sound(row: tuple[object, ...]) -> bool:
    kind, trial, body, check = row[2:]
    if not isinstance(kind, str) or not isinstance(body, str) or not isinstance(trial, int | None):
        return False
    return checksum(kind, trial, body) == check


def _gaps(sequences: list[int]) -> Iterator[range]:
    before = 0
    for sequence in sequences:
        if sequence > before + 1:
            yield range(before + 1, sequence)
        before = sequence


def _remove(path: Path) -> None:
    for part in PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)
