"""Life: what outlives the processes of one shard: that one has it now, how often one began, and how the last ended."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, final

from parameter_server.files.snapshot import sync_folder
from parameter_server.processes.folder import is_at, patiently_locked
from parameter_server.store import StoreError

SIZE: Final = 512  # bytes, written at once: a process that is killed leaves them old or new
PATIENCE: Final = 2.0  # seconds for a predecessor that is being killed, or somebody who only looks, to let go


@final
@dataclass(frozen=True, slots=True)
class Record:
    """How many processes began, and how many of them were killed, as far as is known.

    `ended` is the version of the snapshot that the last one wrote as it was told to end; -1: it did not.
    """

    begun: int = 0
    killed: int = 0
    ended: int = -1
    incarnation: int = 0


@final
class Life:
    """A file that one process at a time holds locked, however that ends; two never write one shard."""

    def __init__(self, path: Path) -> None:
        """Raises `StoreError` when another process serves the shard, and is not about to end."""
        descriptor = patiently_locked(path, PATIENCE)
        if descriptor is None:
            raise StoreError(f"another process serves the shard in {path.parent}: end it first")
        self._path, self._descriptor = path, descriptor
        try:
            self.before = self._read()
            killed = self.before.killed + (self.before.begun > 0 and self.before.ended < 0)
            self.now = replace(self.before, begun=self.before.begun + 1, killed=killed, ended=-1)
            self._write()
            if self.before.begun == 0 or self.before.ended >= 0:  # else the disk says already that the end is not known
                os.fsync(self._descriptor)
                sync_folder(self._path.parent)
        except BaseException:
            os.close(descriptor)
            raise

    def goes_on(self) -> bool:
        """Whether the shard's folder is still there; where another took its place, that is not ours to write in."""
        return is_at(self._descriptor, self._path)

    def incarnate(self, incarnation: int) -> None:
        """Remember the highest incarnation, on disk, before anybody sees a version of it."""
        self.now = replace(self.now, incarnation=incarnation)
        self._write()
        os.fsync(self._descriptor)

    def end(self, version: int) -> None:
        """The snapshot of this version is all there is: nothing was acknowledged after it."""
        self.now = replace(self.now, ended=version)
        self._write()
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let another process have the shard."""
        os.close(self._descriptor)

    def _read(self) -> Record:
        content = os.pread(self._descriptor, SIZE, 0)
        try:
            return Record(**json.loads(content)) if content.strip() else Record()
        except (ValueError, TypeError):
            return Record(begun=1)  # there was something, and how it ended is not known

    def _write(self) -> None:
        os.pwrite(self._descriptor, json.dumps(asdict(self.now)).encode().ljust(SIZE), 0)
