"""Discovery: files by which Prometheus finds the drivers and shards of a home folder (`file_sd_configs`)."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from nas.process import Process

FOLDER: Final = "prometheus"  # in the home folder
JOB: Final = "cellwright"
OWNER: Final = "__meta_cellwright_process"  # Prometheus drops it once it has looked at it
BEAT: Final = 60.0  # seconds between signs of life
UNREADABLE: Final = (ValueError, TypeError, AttributeError, RecursionError)  # of a file that is not one of ours
SILENCE: Final = 15 * 60.0  # seconds after which the driver of another machine is taken to be gone


@final
@dataclass(frozen=True, slots=True)
class Target:
    """Something to scrape: where, and what it is. `name` is the `instance` that series have, driver after driver."""

    address: str
    path: str
    scheme: str
    role: str
    search: str
    name: str

    def json(self, owner: str) -> dict[str, Any]:
        """As Prometheus reads it."""
        labels = {"job": JOB, "role": self.role, "search": self.search, "instance": self.name}
        labels |= {"__metrics_path__": self.path, "__scheme__": self.scheme, OWNER: owner}
        return {"targets": [self.address], "labels": labels}


@final
class Discovery:
    """The file of one driver: there while it runs, touched every minute, removed at its end.

    One whose driver was killed is removed by the next driver of the same home folder.
    """

    def __init__(self, home: Path, search: str) -> None:
        self.folder = home / FOLDER
        self.path = self.folder / f"{search}.json"
        here = Process.here()
        self._owner = json.dumps([here.host, here.pid, here.mark])
        self._due = 0.0

    def write(self, targets: Iterator[Target] | list[Target]) -> None:
        """Name these targets, at once or not at all, and clear up what killed drivers left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps([target.json(self._owner) for target in targets], indent=1)
        with tempfile.NamedTemporaryFile("w", dir=self.folder, prefix=".", suffix=".new", delete=False) as file:
            file.write(text)
        os.chmod(file.name, 0o644)  # Prometheus is another user
        os.replace(file.name, self.path)
        self._due = time.monotonic() + BEAT
        for path in stale(self.folder, self.path.stat().st_mtime):
            with suppress(OSError):
                path.unlink()

    def beat(self) -> bool:
        """Say now and then that the driver lives; False where somebody has taken the file away meanwhile."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + BEAT
            try:
                os.utime(self.path)
            except FileNotFoundError:
                return False
            except OSError:
                pass  # the disk may be away for a while
        return True

    def remove(self) -> None:
        """Take the targets back, unless another driver of the search has written its own."""
        with suppress(OSError, *UNREADABLE):
            if owner(json.loads(self.path.read_text())) == self._owner:
                self.path.unlink()


def stale(folder: Path, now: float) -> Iterator[Path]:
    """The files whose drivers are gone; `now` is the time by the clock of the file system."""
    for path in [*folder.glob("*.json"), *folder.glob(".*.new")]:
        with suppress(OSError, *UNREADABLE):
            if not path.is_file():
                continue  # a pipe would be waited for
            silent = now - path.stat().st_mtime > SILENCE
            if path.suffix == ".new":
                gone = silent
            elif (found := owner(json.loads(path.read_text()))) is None:
                continue  # somebody else's
            else:
                gone = silent or Process(*json.loads(found)).gone()
            if gone:
                yield path


def owner(content: Any) -> str | None:
    """Whose targets these are; None where no driver wrote them."""
    with suppress(KeyError, IndexError, TypeError):
        labels: Mapping[str, Any] = content[0]["labels"]
        found = labels[OWNER]
        return found if isinstance(found, str) else None
    return None
