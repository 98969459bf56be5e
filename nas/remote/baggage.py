"""Baggage: the files of a job's folder that travel with it, as one archive that is the same for the same files."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import final

from nas.quantities import size
from nas.remote.ignored import FILES, USUAL, Ignored
from nas.remote.unpacking import MOST_BYTES, MOST_FILES, safe
from workers.errors import UserError

DATA = ("data", "datasets")  # unless they are packages of Python
MARKS = ("journal.sqlite", "architecture.json", "pyvenv.cfg")  # in the folder of a search, an export, an environment
REMEDY = "name what it does not import in .gitignore or .rayignore, or give the job file a folder of its own"
LONGEST = 1 << 20  # bytes of a list of what is ignored
ENOUGH = 5  # times the files that may travel: somebody's whole home is not counted to the end
EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip archive knows no earlier time


@final
@dataclass(frozen=True)
class Baggage:
    """An archive (zip), its SHA-256 in hexadecimal digits, how many files it has and their bytes; what was left out."""

    content: bytes
    digest: str
    files: int
    bytes: int
    left_out: tuple[str, ...] = ()


def pack(
    folder: Path | None, secrets: Sequence[str] = (), most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES
) -> Baggage:
    """The files of `folder` (of None: nothing), without data sets, searches, exports and what is ignored.

    Ignored is what `.gitignore` and `.rayignore` name, as git understands it. Links are followed where they stay in
    the folder, and left out otherwise, as is what holds one of the `secrets`. `UserError` names what is too large.
    """
    left_out: list[str] = []
    files_of = iter(()) if folder is None else _walk(folder.resolve(), "", Ignored().below("", USUAL), left_out)
    found = sorted(islice(files_of, ENOUGH * most_files))
    total = sum(length for _, _, length in found)
    if total > most_bytes or len(found) > most_files:
        most = f"{most_files:,} files of {size(most_bytes)}"
        raise UserError(
            f"the job's folder {folder} has {_lengths(found, total)}, and {most} may travel with a job: {REMEDY}"
        )
    stream = io.BytesIO()
    written = files = 0
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path, _ in found:
            content = _read(path, most_bytes - written)
            if any(secret.encode() in content for secret in secrets):
                left_out.append(name)
                continue
            written, files = written + len(content), files + 1
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # its mode is as Unix has it
            entry.external_attr = (stat.S_IFREG | (0o755 if path.stat().st_mode & 0o100 else 0o644)) << 16
            archive.writestr(entry, content)
    content = stream.getvalue()
    return Baggage(content, hashlib.sha256(content).hexdigest(), files, written, tuple(sorted(left_out)))


def _walk(folder: Path, below: str, ignored: Ignored, left_out: list[str]) -> Iterator[tuple[str, Path, int]]:
    """Name, place and length of each file that travels; what should, but cannot, is added to `left_out`."""
    for name in FILES:
        if (folder / name).is_file():
            ignored = ignored.below(below, _read(folder / name, LONGEST).decode(errors="replace").split("\n"))
    with _readable(folder), os.scandir(folder) as entries:
        found = sorted(entries, key=lambda one: one.name)
    for entry in found:
        name, path = below + entry.name, Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if not ignored(name, True) and not _apart(path, not below):
                yield from _walk(path, f"{name}/", ignored, left_out)
        elif not ignored(name, False):
            with _readable(path):
                length = path.stat().st_size if _sound(name) and _plain(path, name) else None
            if length is None:
                left_out.append(name.encode(errors="backslashreplace").decode())
            else:
                yield name, path, length


def _apart(folder: Path, top: bool) -> bool:
    """Whether a folder holds data (one at the `top`), a search, an export or an environment."""
    with _readable(folder):
        if any((folder / mark).is_file() for mark in MARKS):
            return True
    return top and folder.name in DATA and not any(folder.glob("*.py"))


def _sound(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return safe(name)


def _plain(path: Path, name: str) -> bool:
    """Whether this is a file that may be read: no socket, and no link to anything outside of the folder."""
    if not path.is_file():
        return False
    if path.is_symlink():
        top = path.parents[name.count("/")].resolve()
        return path.resolve().is_relative_to(top)
    return True


def _read(path: Path, room: int) -> bytes:
    """The bytes of a file, which may have grown since its length was asked for."""
    with _readable(path), path.open("rb") as opened:
        content = opened.read(room + 1)
    if len(content) > room:
        raise UserError(f"{path} is larger than {size(room)}, or grows while it is packed: {REMEDY}")
    return content


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Where it is not, `UserError` says so."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}), so it cannot travel with the job: make it readable, or name it "
            "in .gitignore or .rayignore"
        ) from error


def _lengths(found: list[tuple[str, Path, int]], total: int) -> str:
    sizes: Counter[str] = Counter()
    for name, _, length in found:
        top, slash, _ = name.partition("/")
        sizes[top + slash] += length
    largest = ", ".join(f"{name} ({size(length)})" for name, length in sizes.most_common(3))
    return f"{len(found):,} files of {size(total)} (the largest: {largest})"
