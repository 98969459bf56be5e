"""What this machine has: cores, memory, limits, file systems; read from the system, Linux first."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath

ROOT = Path("/")
NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "gpfs",
    "beegfs",
    "fuse.sshfs",
    "fuse.s3fs",
)
UNLIMITED = 1 << 60  # control groups of version 1 write a number near 2^63 for no limit


def cores() -> int:
    """The cores that this process may be scheduled on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def cores_allowed(root: Path = ROOT) -> float | None:
    """How many cores' time the control group grants; None without a limit."""
    text = _text(root, "sys/fs/cgroup/cpu.max").split()
    if not text:
        quota = _text(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us")
        text = [quota, _text(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us") or "100000"] if quota else []
    if len(text) != 2 or text[0] == "max" or int(text[0]) <= 0:
        return None
    return int(text[0]) / int(text[1])


def memory(root: Path = ROOT) -> tuple[int, int] | None:
    """Bytes of memory: in all, and available; None where the system does not say."""
    found = {}
    for line in _text(root, "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    if "MemTotal" not in found:
        return None
    return found["MemTotal"], found.get("MemAvailable", found["MemTotal"])


def memory_allowed(root: Path = ROOT) -> int | None:
    """Bytes that the control group grants; None without a limit."""
    for place in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _text(root, place)
        if text.isdigit():
            return int(text) if int(text) < UNLIMITED else None
    return None


def descriptors() -> tuple[int, int] | None:
    """How many files a process may open: now, and at most after asking; None where there is no such limit."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def shared_memory(root: Path = ROOT) -> int | None:
    """Bytes of `/dev/shm`, where Ray keeps objects; None where there is none."""
    place = root / "dev/shm"
    return shutil.disk_usage(place).total if place.is_dir() else None


def free_disk(place: Path) -> int:
    """Free bytes on the disk of `place`, or of its nearest parent that exists."""
    return shutil.disk_usage(existing(place)).free


def existing(place: Path) -> Path:
    """`place`, or the nearest of its parents that exists."""
    place = place.absolute()
    return next(one for one in (place, *place.parents) if one.exists())


def file_system(place: Path, root: Path = ROOT) -> str | None:
    """The kind of file system that holds `place` (`ext4`, `nfs4`); None where the system does not say."""
    target = PurePosixPath(existing(place).resolve())
    best: tuple[int, str] | None = None
    for line in _text(root, "proc/mounts").splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = PurePosixPath(fields[1].replace("\\040", " "))
        depth = len(mount.parts)
        if target.is_relative_to(mount) and (best is None or depth >= best[0]):
            best = depth, fields[2]
    return best and best[1]


def over_network(kind: str | None) -> bool:
    """Whether a file system of this kind is shared over a network, where SQLite's locks cannot be trusted."""
    return kind is not None and kind.startswith(NETWORK)


def nvidia_card(root: Path = ROOT) -> bool:
    """Whether the system has an NVIDIA driver loaded, whatever torch says."""
    return (root / "proc/driver/nvidia/version").exists()


def _text(root: Path, place: str) -> str:
    try:
        return (root / place).read_text().strip()
    except OSError:
        return ""
