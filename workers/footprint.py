"""Footprint: the memory that processes hold and the host cannot take back, as Linux tells it in /proc.

That is anonymous memory and shared memory, swapped out or not (`RssAnon`, `RssShmem`, `VmSwap` of proc(5)); not the
pages of mapped files, such as libraries and cached data sets, which the host drops when it needs room.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_HELD = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_SHARED_OUT = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")


def known() -> bool:
    """Whether this system tells it."""
    return _fields("/proc/self/status", _HELD[:1]) is not None


def held(pid: int) -> int:
    """Bytes of one process; 0 where it is gone. 20 microseconds."""
    return sum(_fields(f"/proc/{pid}/status", _HELD) or ())


def data(pid: int) -> int:
    """Bytes of address space that setrlimit's RLIMIT_DATA counts."""
    return sum(_fields(f"/proc/{pid}/status", (b"VmData:",)) or ())


def together(pid: int, limit: int, offspring: list[int]) -> int:
    """Bytes of a process and its `offspring`; exact, pages that they share counted once, where that is over `limit`."""
    own = held(pid)
    total = own + sum(held(one) for one in offspring)
    if total <= limit:
        return total
    return sum(_proportional(one) for one in (pid, *offspring))


def families() -> dict[int, list[int]]:
    """The children of every process of this machine. Some 15 microseconds for each of them."""
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc") if known() else ():
        if entry.isdigit() and (status := _status(int(entry))) is not None:
            found.setdefault(int(status[1]), []).append(int(entry))
    return found


def offspring(pid: int, among: Mapping[int, list[int]] | None = None) -> list[int]:
    """The children of a process, their children, and so on, `among` families as they are now."""
    known_families = families() if among is None else among
    found, waiting = [], [pid]
    while waiting:
        children = known_families.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def stopped(pid: int) -> bool:
    """Whether a process stands still by SIGSTOP; not one that a debugger holds."""
    status = _status(pid)
    return status is not None and status[0] == "T"


def _proportional(pid: int) -> int:
    """Walks all pages: some 10 milliseconds for each GB."""
    fields = _fields(f"/proc/{pid}/smaps_rollup", _SHARED_OUT)
    return held(pid) if fields is None else sum(fields)


def _status(pid: int) -> list[str] | None:
    """The state of a process, its parent, and so on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _fields(path: str, names: tuple[bytes, ...]) -> list[int] | None:
    """Bytes of the lines that begin with `names`; None where the file or the first of them is missing."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            text = os.read(handle, 8192)
        finally:
            os.close(handle)
    except OSError:
        return None
    found = [text.partition(name)[2].split(None, 1)[:1] for name in names]
    return [int(value[0]) * 1024 for value in found if value] if found[0] else None
