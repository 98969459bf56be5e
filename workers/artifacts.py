"""Artifacts: the files of a search, on a folder or an fsspec URL, each written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from workers.errors import DamagedError, NotFoundError, UserError
from workers.redaction import redacted

SIDECAR = ".sha256"
WHOLE = "job"  # stands for the trial in the files of a search as a whole
OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")


@final
@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """What a journal keeps of a file: its name, size and SHA-256 in hexadecimal digits."""

    name: str
    bytes: int
    digest: str


@final
@dataclass(frozen=True, slots=True)
class Stored:
    """One file of a search, as `Artifacts.list` finds it."""

    trial: int
    attempt: int
    name: str
    bytes: int


class Artifacts(ABC):
    """Files by (search, trial, attempt, name), at `<place>/<search>/<trial>/<attempt>/<name>`.

    Those of the search as a whole (what travelled with its job, what its driver said) are at `<place>/<search>/job/`.

    A file has its SHA-256 beside it (`<name>.sha256`, as `sha256sum` writes it), which is written first: whatever is
    interrupted, `get` gives what one `put` was given, or an error. While a file is replaced, both digests are good.
    """

    @staticmethod
    def open(place: str) -> Artifacts:
        """The artifacts at `place`, a folder (made when something is put) or an fsspec URL such as `s3://bucket/runs`."""
        return _Remote(place) if "://" in place else _Folder(Path(place).expanduser())

    @final
    def put(self, search: str, trial: int, attempt: int, name: str, content: bytes | Path) -> ArtifactRecord:
        """Store `content` (bytes, or a file to be copied), replacing what stood there."""
        data = content.read_bytes() if isinstance(content, Path) else content
        return self._put(_key(search, trial, attempt, name), f"{name} of trial {trial}", data)

    @final
    def put_whole(self, search: str, name: str, content: bytes) -> ArtifactRecord:
        """Store a file of the search as a whole, replacing what stood there; `list` does not show it."""
        return self._put(_whole(search, name), f"{name} of {search}", content)

    @final
    def probe(self, search: str) -> None:
        """Store a file and remove it, so that a place that takes none is known before anything is trained."""
        key = _key(search, 0, 0, "probe")
        try:
            self._write(key, b"probe")
            self._remove(key)
        except OSError as error:
            raise UserError(
                f"artifacts cannot be stored in {self.place}: {error.strerror or error}; "
                "make that possible, or name another place: artifacts: ..."
            ) from error

    @final
    def get(self, search: str, trial: int, attempt: int, name: str) -> bytes:
        """What was put; `NotFoundError` where nothing was, `DamagedError` where its digest differs."""
        return self._get(_key(search, trial, attempt, name), f"{name} of trial {trial}, attempt {attempt}")

    @final
    def get_whole(self, search: str, name: str) -> bytes:
        """What `put_whole` was given; `NotFoundError` where nothing was, `DamagedError` where its digest differs."""
        return self._get(_whole(search, name), f"{name} of {search}")

    @final
    def delete(self, search: str, trial: int, attempt: int, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        key = _key(search, trial, attempt, name)
        self._remove(key)
        self._remove(key + SIDECAR)

    @final
    def list(self, search: str, trial: int | None = None) -> tuple[Stored, ...]:
        """The files of a search, or of one trial of it, in order of trial, attempt and name."""
        found = []
        for key, size in self._walk(_part(search) if trial is None else f"{_part(search)}/{int(trial)}"):
            parts = key.split("/")
            if len(parts) == 4 and parts[1].isdigit() and parts[2].isdigit() and not _hidden(parts[3]):
                found.append(Stored(int(parts[1]), int(parts[2]), parts[3], size))
        return tuple(sorted(found, key=lambda one: (one.trial, one.attempt, one.name)))

    @final
    def _put(self, key: str, what: str, data: bytes) -> ArtifactRecord:
        name, digest = key.rpartition("/")[2], hashlib.sha256(data).hexdigest()
        try:
            lines = dict.fromkeys([digest, *self._digests(key)[:7]])
            self._write(key + SIDECAR, "".join(f"{line}  {name}\n" for line in lines).encode())
            self._write(key, data)
        except OSError as error:
            raise UserError(f"{what} cannot be stored in {self.place}: {error}") from error
        return ArtifactRecord(name, len(data), digest)

    @final
    def _get(self, key: str, what: str) -> bytes:
        try:
            data = self._read(key)
        except FileNotFoundError:
            raise NotFoundError(f"there is no {what} in {self.place}") from None
        if hashlib.sha256(data).hexdigest() not in self._digests(key):
            raise DamagedError(f"{what} in {self.place} is damaged: its SHA-256 is not the one it had")
        return data

    @final
    def _digests(self, key: str) -> tuple[str, ...]:
        try:
            lines = self._read(key + SIDECAR).decode("ascii", "replace").splitlines()
            return tuple(line.split()[0] for line in lines if line.strip())
        except FileNotFoundError:
            return ()

    @property
    @abstractmethod
    def place(self) -> str:
        """The folder or URL, as people may see it."""

    @abstractmethod
    def _write(self, key: str, data: bytes) -> None: ...

    @abstractmethod
    def _read(self, key: str) -> bytes: ...

    @abstractmethod
    def _remove(self, key: str) -> None: ...

    @abstractmethod
    def _walk(self, folder: str) -> Iterator[tuple[str, int]]:
        """Key and size of each file below `folder`; nothing where there is none."""


@final
class _Folder(Artifacts):
    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def place(self) -> str:
        return str(self.root)

    def _write(self, key: str, data: bytes) -> None:
        """Temporary name, to the disk, then renamed."""
        path = self.root / key
        handle, temporary = self._temporary(path)
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _temporary(self, path: Path) -> tuple[int, str]:
        """An open file beside `path`; the folder may be removed by a `delete` just after it was made."""
        for _ in range(100):
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                return tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        raise FileNotFoundError(f"{path.parent} vanishes again and again")

    def _read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def _remove(self, key: str) -> None:
        path = self.root / key
        for one in (path, *path.parent.glob(f".{path.name}-*")):  # and what a put left behind that was killed
            one.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # an attempt and a trial without files leave no folder; others stay
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def _walk(self, folder: str) -> Iterator[tuple[str, int]]:
        for path in (self.root / folder).glob("*/*" if "/" in folder else "*/*/*"):
            if path.is_file():
                yield path.relative_to(self.root).as_posix(), path.stat().st_size


@final
class _Remote(Artifacts):
    """By fsspec. Object stores write a file whole or not at all; other file systems rename it into its place.

    Nothing is remembered of what was listed: other machines write here, too.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ModuleNotFoundError:
            raise UserError(
                f"artifacts at {redacted(url)} need fsspec: pip install 'cellwright[remote]', or name a folder"
            ) from None
        try:
            self.files, self.root = fsspec.core.url_to_fs(url.rstrip("/"), use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UserError(f"artifacts at {redacted(url)} cannot be reached: {error}") from error
        self._whole = url.partition("://")[0] in OBJECT_STORES
        self.url = url

    @property
    def place(self) -> str:
        return redacted(self.url)

    def _write(self, key: str, data: bytes) -> None:
        path = f"{self.root}/{key}"
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{name}-{os.urandom(4).hex()}"
        with _as_errors_of_the_system():
            if self._whole:
                self.files.pipe_file(path, data)
                return
            self.files.makedirs(folder, exist_ok=True)
            self.files.pipe_file(temporary, data)
            self.files.mv(temporary, path)

    def _read(self, key: str) -> bytes:
        with _as_errors_of_the_system():
            data: bytes = self.files.cat_file(f"{self.root}/{key}")
        return data

    def _remove(self, key: str) -> None:
        with _as_errors_of_the_system(), contextlib.suppress(FileNotFoundError):
            self.files.rm_file(f"{self.root}/{key}")

    def _walk(self, folder: str) -> Iterator[tuple[str, int]]:
        known: dict[str, Any] = {}
        with _as_errors_of_the_system(), contextlib.suppress(FileNotFoundError):
            known = self.files.find(f"{self.root}/{folder}", detail=True)
        for path, details in known.items():
            yield str(path)[len(str(self.root)) :].lstrip("/"), int(details["size"])


@contextlib.contextmanager
def _as_errors_of_the_system() -> Iterator[None]:
    """Raise what a store's own library raises (a refused connection, say) as the `OSError` that it is."""
    try:
        yield
    except (OSError, UserError):
        raise
    except Exception as error:
        raise OSError(" ".join(str(error).split()) or type(error).__name__) from error


def _key(search: str, trial: int, attempt: int, name: str) -> str:
    return f"{_part(search)}/{int(trial)}/{int(attempt)}/{_part(name)}"


def _whole(search: str, name: str) -> str:
    return f"{_part(search)}/{WHOLE}/{_part(name)}"


def _part(name: str) -> str:
    if not name or name.startswith(".") or any(one in "/\\" or not one.isprintable() for one in name):
        raise UserError(f"{name!r} cannot be part of a path: no slashes, no dot in front, nothing unprintable")
    return name


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.endswith(SIDECAR)
