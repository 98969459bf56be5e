"""Unpacking: a zip archive as files in a folder, whatever whoever wrote it had in mind."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from workers.errors import DamagedError

MOST_BYTES = 100 << 20  # of all files together, unpacked
MOST_FILES = 20_000
DEEPEST = 64  # folders inside each other
CHUNK = 1 << 16
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack(content: bytes, folder: Path, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES) -> None:
    """Make `folder` with the files of the archive in it; it appears whole or not at all, and another's is kept.

    `DamagedError` for what none of our archives holds: a path out of the folder, a link, a name twice, or more bytes or
    files than allowed, as they come out and whatever the archive says of itself.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _extract(archive, fresh, most_bytes, most_files)
        fresh.rename(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeError, ValueError) as error:
        raise DamagedError(f"the files that travelled with the job cannot be unpacked: {error}") from error
    except OSError as error:
        if folder.is_dir():
            return  # somebody else was faster
        raise DamagedError(f"the files that travelled with the job cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def safe(name: str) -> bool:
    """Whether `name` is a path below the folder that it is unpacked in, on any system."""
    parts = name.split("/")
    return (
        0 < len(parts) <= DEEPEST
        and not any(part in ("", ".", "..") for part in parts)
        and not any(ord(one) < 32 or one in '\\:*?"<>|' for one in name)
        and not PurePosixPath(name).is_absolute()
        and all(len(os.fsencode(part)) <= 255 for part in parts)
    )


def _extract(archive: zipfile.ZipFile, folder: Path, most_bytes: int, most_files: int) -> None:
    entries = archive.infolist()
    if len(entries) > most_files:
        raise ValueError(f"{len(entries):,} files, more than {most_files:,}")
    room = most_bytes
    for entry in entries:
        mode = entry.external_attr >> 16
        if not safe(entry.filename) or entry.is_dir():
            raise ValueError(f"{entry.filename[:100]!r} is no path of a file in it")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ValueError(f"{entry.filename} is no plain file")
        if entry.flag_bits & 1 or entry.compress_type not in METHODS:
            raise ValueError(f"{entry.filename} is encrypted, or compressed in a way of its own")
        path = folder / entry.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, path.open("xb") as target:
            while chunk := source.read(min(CHUNK, room + 1)):
                room -= len(chunk)
                if room < 0:
                    raise ValueError(f"more than {most_bytes:,} bytes")
                target.write(chunk)
        path.chmod(0o755 if mode & 0o100 else 0o644)
