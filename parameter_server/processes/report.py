"""Report: what a process of a store has to say, in a line; a full disk costs the line, and never the process."""

from __future__ import annotations

import sys
import time
from contextlib import suppress


def report(text: str) -> None:
    """To `supervisor.log` of the store's folder, or wherever the standard error of this process goes."""
    with suppress(OSError):
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
    flush()


def flush() -> None:
    """Bring out what is left of earlier lines, so that no fork repeats it."""
    with suppress(OSError):
        sys.stderr.flush()
