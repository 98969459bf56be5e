"""Process: which process on which machine, told apart from a later one with the same number."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Process:
    """`mark` is the running kernel, the space of process numbers in it, and when the process started (empty: unknown).

    A host name and a number alone would confuse containers that share a name, and a process with its successor.
    """

    host: str
    pid: int
    mark: str = ""

    @classmethod
    def here(cls) -> Process:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, f"{_kernel()}/{_started(pid)}" if _kernel() else "")

    def gone(self) -> bool:
        """Whether it is certain that the process is over; False where it cannot be known from here."""
        if not self.mark or self.mark.rpartition("/")[0] != _kernel():
            return False
        return _started(self.pid) != self.mark.rpartition("/")[2]


def _kernel() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Clock ticks from boot to the start of the process; empty where there is none, or only what is left of one."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = status.rpartition(")")[2].split()  # the name before may hold blanks and brackets
    return "" if fields[0] in "ZX" else fields[19]
