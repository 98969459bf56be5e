"""What the processes of a soak hold, by their roles: memory, file handles, threads, how many there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from workers import footprint

Sample: TypeAlias = Mapping[tuple[str, str], float]  # by role and measure
MEASURES: Final = ("rss", "pss", "handles", "threads", "processes")
ROLES: Final = {  # what a command line has
    "soak.py": "driver",
    "workers.pools.process": "worker",
    "ray::": "worker",
    "supervisor_process": "supervisor",  # and the shards that it has forked
    "/raylet/raylet": "raylet",
    "gcs_server": "ray head",
}


def sample(root: int) -> Sample:
    """The sums over all that `root` has started, itself left out; `orphan` is what others of them have left behind."""
    found: dict[tuple[str, str], float] = {}
    families = footprint.families()
    parents = {child: parent for parent, children in families.items() for child in children}
    for pid in footprint.offspring(root, families):
        measured = _measured(pid)
        if measured is None:
            continue
        role = _role(pid)
        if role == "supervisor" and _role(parents[pid]) == "supervisor":
            role = "shard"
        elif role == "other" and parents[pid] == root:
            role = "orphan"
        for measure, value in measured.items():
            found[role, measure] = found.get((role, measure), 0.0) + value
    return found


def _measured(pid: int) -> dict[str, float] | None:
    """One process; None where it has ended, or is ending."""
    proc = Path(f"/proc/{pid}")
    try:
        status = _fields(proc / "status")
        if status.get("State", "Z").startswith("Z") or "VmRSS" not in status:
            return None
        pss = _fields(proc / "smaps_rollup").get("Pss", "0 kB")
        return {
            "rss": _bytes(status["VmRSS"]),
            "pss": _bytes(pss),
            "handles": float(len(os.listdir(proc / "fd"))),
            "threads": float(status["Threads"]),
            "processes": 1.0,
        }
    except (OSError, KeyError):
        return None


def _role(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "other"
    if "ray/" in command and not any(part in command for part in ("ray::", "raylet/raylet", "gcs_server")):
        return "ray's own"
    return next((role for part, role in ROLES.items() if part in command), "other")


def _fields(path: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in path.read_text(errors="replace").splitlines())
    return {name: value.strip() for name, _, value in lines}


def _bytes(text: str) -> float:
    return float(text.split()[0]) * 1024
