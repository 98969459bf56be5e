"""Log: the updates of a shard since a snapshot, each on disk before it is acknowledged; replayed, they give its state.

A segment `log-N` holds what came after `snapshot-N` was taken. A record is its length and checksum, what it is as
JSON, and the gradients as they are; the id of a push is in the record of its gradients, so that both are there or
neither.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import xxhash

from parameter_server.files.snapshot import number_of, sync_folder
from parameter_server.link import Part, Push
from parameter_server.piece import Piece
from parameter_server.shards.admission import attempt_of
from parameter_server.shards.recorder import Recorder
from parameter_server.store import PushId, StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.shards.state import State
    from parameter_server.store import Array

_HEAD: Final = np.dtype([("magic", "<u4"), ("meta", "<u4"), ("length", "<u8"), ("checksum", "<u8")])
_MAGIC: Final = 0x474F4C43
_AT_ONCE: Final = 512  # buffers of one system call


@final
@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """Pushes that lead to a version; or, while there was that version, `pieces` were created, or a client `entered`."""

    version: int
    pushes: tuple[Push, ...] = ()
    pieces: tuple[Piece, ...] = ()
    values: tuple[Array, ...] = ()
    entered: tuple[str, int] | None = None


@final
class Log(Recorder):
    """The open end of the log in a folder; what was recorded beyond the shard's `version` and `pieces` is cut off.

    That is right when the shard has taken all it recorded, or keeps its numbers by other means: a push of a later
    version was never acknowledged then, and another one is about to take its place.
    """

    def __init__(self, folder: Path, version: int, pieces: Sequence[Piece]) -> None:
        self.folder = folder
        self._version = version
        self._file = -1
        self._size = 0
        self._before = 0  # what it was before the last record
        there = segments(folder)
        keys = {piece.key for piece in pieces}
        for path in there:
            _cut(path, version, keys)
        self._open(there[-1] if there else folder / _name(0))

    def record(self, version: int, pushes: Sequence[Push]) -> None:
        meta = {"version": version, "pushes": [_described(push) for push in pushes]}
        arrays = [
            array for push in pushes for part in push.parts
            for array in ((part.values,) if part.rows is None else (part.rows, part.values))
        ]  # fmt: skip
        self._append(meta, arrays)
        self._version = version

    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> None:
        self._append({"version": self._version, "pieces": [piece.to_json() for piece in pieces]}, values)

    def enter(self, client: str, attempt: int) -> None:
        self._append({"version": self._version, "entered": (client, attempt)}, ())

    def withdraw(self) -> None:
        self._size = self._before
        with suppress(OSError):  # if this fails: the next record is written over it
            os.ftruncate(self._file, self._size)
            os.fdatasync(self._file)

    def rotate(self, number: int) -> None:
        """Go on in a new segment; raises `OSError` where it cannot, and goes on in the old one."""
        old = self._file
        self._open(self.folder / _name(number))
        os.close(old)

    def drop_before(self, number: int) -> None:
        """Forget segments that no snapshot needs any more."""
        for path in segments(self.folder):
            if number_of(path) < number:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.lseek(file, 0, os.SEEK_END)
            sync_folder(self.folder)
        except BaseException:
            os.close(file)
            raise
        self._file, self._size, self._before = file, size, size

    def _append(self, meta: dict[str, Any], arrays: Sequence[Array | NDArray[np.int64]]) -> None:
        """Write a record, durably; where that fails, the file is cut to what it was."""
        text = json.dumps(meta, separators=(",", ":")).encode()
        bodies = [memoryview(text), *(np.ascontiguousarray(one).data.cast("B") for one in arrays if one.size)]
        length = sum(map(len, bodies))
        head = np.array([(_MAGIC, len(text), length, _checksum(len(text), bodies))], _HEAD)
        try:
            _write_all(self._file, self._size, [memoryview(head.tobytes()), *bodies])
            os.fdatasync(self._file)
        except OSError:
            with suppress(OSError):  # if this fails too: the next record is written over it, and readers stop there
                os.ftruncate(self._file, self._size)
            raise
        self._before, self._size = self._size, self._size + _HEAD.itemsize + length


@final
@dataclass(frozen=True, slots=True)
class Replayed:
    """How many updates were taken, and what was found damaged; what came after damage could not be taken.

    `torn`: what ends in the middle of a record. One that was torn as it was written was never acknowledged, but one
    that was damaged later looks the same.
    """

    updates: int
    damages: tuple[str, ...]
    torn: tuple[str, ...] = ()


def replay(folder: Path, since: int, state: State) -> Replayed:
    """Let a state take what was recorded in a folder after snapshot `since`; a state that has it already skips it."""
    taken, damages, torn = 0, list[str](), list[str]()
    for update in _updates(folder, since, damages, torn):
        try:
            if update.pieces:
                taken += bool(state.create(update.pieces, update.values))
            elif update.entered is not None:
                _let_in(state, [update.entered])
            elif state.replay(update.version, update.pushes):
                taken += 1
                _let_in(state, [(push.id.client, push.id.attempt) for push in update.pushes])
        except StoreError as error:
            damages.append(f"{folder}: {error}")
            break
    return Replayed(taken, tuple(damages), tuple(torn))


def _let_in(state: State, attempts: Sequence[tuple[str, int]]) -> None:
    """Who was there in some attempt is fenced off for earlier ones."""
    for client, attempt in attempts:
        state.enter(client, max(attempt, attempt_of(state.memory.book, client) or 0))
    state.memory.commit(())


def _updates(folder: Path, since: int, damages: list[str], torn: list[str]) -> Iterator[Update]:
    """What counts of the segments: of two records of one version the later, for the earlier was never acknowledged."""
    held: Update | None = None
    for path in segments(folder):
        if number_of(path) < since:
            continue
        data, end = np.fromfile(path, np.uint8), 0
        while (record := _record(data, end)) is not None:
            update, end = record
            if held is not None and not (held.pushes and update.pushes and update.version <= held.version):
                yield held
            held = update
        if _goes_on(data, end):
            damages.append(f"{path} is damaged after {end} bytes")
        elif end < len(data):
            torn.append(f"{path} has {len(data) - end} bytes after its last record that are none")
    if held is not None:
        yield held


def _record(data: NDArray[np.uint8], start: int) -> tuple[Update, int] | None:
    """The record that begins here, and where it ends; None where there is none that is sound."""
    begin = start + _HEAD.itemsize
    if begin > len(data):
        return None
    head = data[start:begin].view(_HEAD)[0]
    stop = begin + int(head["length"])
    if head["magic"] != _MAGIC or stop > len(data) or head["meta"] > head["length"]:
        return None
    body = data[begin:stop]
    size = int(head["meta"])
    if _checksum(size, [body.data]) != head["checksum"]:
        return None
    return _read(json.loads(body[:size].tobytes()), body[size:].tobytes()), stop


def _checksum(meta: int, bodies: Sequence[memoryview]) -> int:
    """Of a record, with the length of its JSON, by which the rest is found."""
    digest = xxhash.xxh3_64(seed=meta)
    for body in bodies:
        digest.update(body)
    return digest.intdigest()


def _goes_on(data: NDArray[np.uint8], end: int) -> bool:
    """Whether there are sound records after one that is not: then it was not torn when it was written."""
    sign, rest = _MAGIC.to_bytes(4, "little"), data.tobytes()
    place = rest.find(sign, end + 1)
    while place >= 0 and _record(data, place) is None:
        place = rest.find(sign, place + 1)
    return place >= 0


def _read(meta: dict[str, Any], data: bytes) -> Update:
    place = 0

    def taken(dtype: str, count: int) -> Any:
        nonlocal place
        array = np.frombuffer(data, dtype, count, place)
        place += array.nbytes
        return array

    if "pieces" in meta:
        pieces = tuple(Piece.from_json(piece) for piece in meta["pieces"])
        values = tuple(taken(piece.dtype, piece.size) for piece in pieces)
        return Update(meta["version"], (), pieces, values)
    if "entered" in meta:
        client, attempt = meta["entered"]
        return Update(meta["version"], entered=(client, attempt))
    pushes = []
    for push in meta["pushes"]:
        parts = []
        for key, dtype, size, rows in push["parts"]:
            numbers = None if rows is None else taken("int64", rows)
            parts.append(Part(key, taken(dtype, size), numbers))
        pushes.append(Push(PushId(*push["id"]), push["base"], push["table"], parts, push["scale"]))
    return Update(meta["version"], tuple(pushes))


def _described(push: Push) -> dict[str, Any]:
    parts = [
        (part.key, part.values.dtype.name, part.values.size, None if part.rows is None else part.rows.size)
        for part in push.parts
    ]
    push_id = (push.id.client, push.id.number, push.id.attempt)
    return {"id": push_id, "base": push.base, "table": push.table, "scale": push.scale, "parts": parts}


def _cut(path: Path, version: int, keys: Set[str]) -> None:
    """Cut a segment where its sound records end, or those up to a version and of these pieces do."""
    data, end = np.fromfile(path, np.uint8), 0
    while (record := _record(data, end)) is not None:
        update, stop = record
        if update.version > version or not all(piece.key in keys for piece in update.pieces):
            break
        end = stop
    if end < len(data):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, offset: int, bodies: Sequence[memoryview]) -> None:
    """Write buffers one after the other; what a full disk takes of them is followed by the error."""
    left = [body for body in bodies if len(body)]
    while left:
        done = os.pwritev(descriptor, left[:_AT_ONCE], offset)
        offset += done
        while left and done >= len(left[0]):
            done -= len(left.pop(0))
        if done:
            left[0] = left[0][done:]


def _name(number: int) -> str:
    return f"log-{number:09d}"


def segments(folder: Path) -> list[Path]:
    """The files of a log, in the order in which they were written."""
    return sorted(folder.glob("log-" + "[0-9]" * 9))
