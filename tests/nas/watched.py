"""What a watcher is told of a search that never ran, and a pool with nothing to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from histories import JOB
from tallying import ACCURACY, ScriptedPool, Tally

from nas.history import Entry, History
from nas.timing import Timing
from nas.watcher import Watched

POOL = ScriptedPool(slots=2)


def watched(folder: Path, **changes: Any) -> Watched:
    """The search `cells-7` of the job of `histories`, whose files are in `folder`."""
    search = folder / "cells-7"
    job = {**JOB, "folder": str(folder), **changes}
    return Watched("cells-7", job, (ACCURACY,), search, folder, Tally(), Timing())


def fed(history: History, entries: list[Entry]) -> History:
    """`history` with more entries."""
    for entry in entries:
        history.feed(entry)
    return history
