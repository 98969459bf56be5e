"""What the system says about itself, read from a made-up one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nas import machine


def write(root: Path, place: str, text: str) -> None:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(("text", "cores"), [("max 100000", None), ("150000 100000", 1.5), ("", None)])
def test_cores_that_the_control_group_grants(tmp_path: Path, text: str, cores: float | None) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu.max", text)
    assert machine.cores_allowed(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("200000", 2.0)])
def test_cores_in_control_groups_of_version_1(tmp_path: Path, quota: str, cores: float | None) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota)
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert machine.cores_allowed(tmp_path) == cores


@pytest.mark.parametrize(
    ("place", "text", "limit"),
    [
        ("memory.max", "max", None),
        ("memory.max", "1073741824", 1 << 30),
        ("memory/memory.limit_in_bytes", "9223372036854771712", None),
        ("memory/memory.limit_in_bytes", "2147483648", 1 << 31),
    ],
)
def test_memory_that_the_control_group_grants(tmp_path: Path, place: str, text: str, limit: int | None) -> None:
    write(tmp_path, f"sys/fs/cgroup/{place}", text)
    assert machine.memory_allowed(tmp_path) == limit


def test_memory(tmp_path: Path) -> None:
    assert machine.memory(tmp_path) is None
    write(tmp_path, "proc/meminfo", "MemTotal:    2048 kB\nMemFree:  1 kB\nMemAvailable:   1024 kB\n")
    assert machine.memory(tmp_path) == (2 << 20, 1 << 20)


def test_the_file_system_of_the_deepest_mount_counts(tmp_path: Path) -> None:
    far, nested = tmp_path / "far away", tmp_path / "far away" / "near"
    nested.mkdir(parents=True)
    escaped = str(far).replace(" ", "\\040")
    write(tmp_path, "proc/mounts", f"/dev/a / ext4 rw\nserver:/x {escaped} nfs4 rw\ntmpfs {escaped}/near tmpfs rw\n")
    assert machine.file_system(tmp_path, tmp_path) == "ext4"
    assert machine.file_system(far, tmp_path) == "nfs4"
    assert machine.file_system(far / "not" / "yet", tmp_path) == "nfs4"
    assert machine.file_system(nested, tmp_path) == "tmpfs"


@pytest.mark.parametrize(
    ("kind", "network"),
    [("nfs4", True), ("nfs", True), ("cifs", True), ("ext4", False), ("overlay", False), (None, False)],
)
def test_network_file_systems(kind: str | None, network: bool) -> None:
    assert machine.over_network(kind) is network


def test_this_machine_agrees_with_the_standard_library() -> None:
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)
    assert machine.free_disk(Path("/no/such/place")) == pytest.approx(shutil.disk_usage("/").free, rel=0.1)
    known = machine.memory()
    assert known is None or known[0] >= known[1] > 0
    limits = machine.descriptors()
    assert limits is None or limits[0] != 0
