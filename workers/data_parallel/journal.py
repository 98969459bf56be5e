"""The journal of a training that workers share: lines of JSON, written before what they say takes effect."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import final

from workers.errors import DamagedError, UserError
from workers.trial import Json


@final
class Journal:
    """A file that one process appends to, and that survives its death at any moment; a torn last line never was."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UserError(
                f"{path.parent.parent} is being trained by another process: wait for it, or end it"
            ) from None
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        try:
            self.entries: list[dict[str, Json]] = [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            self._file.close()
            raise DamagedError(f"{path} is damaged: {error}; remove {path.parent} to begin anew") from error

    def append(self, entry: dict[str, Json]) -> None:
        """Write an entry; it is in the file when this returns."""
        line = memoryview((json.dumps(entry, separators=(",", ":")) + "\n").encode())
        while line:
            line = line[os.write(self._file.fileno(), line) :]

    def close(self) -> None:
        self._file.close()
