"""Waiting for what other processes do, with patience, and seeing whether they are there."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE = 60.0  # seconds; far above what anything takes: a busy machine is no failure


def until(look: Callable[[], Result | None]) -> Result:
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def runs(pid: int) -> bool:
    """Whether a process is there, and not only what is left of one that nobody waited for."""
    asked = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip()[:1] not in ("", "Z")
