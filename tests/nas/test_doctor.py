"""The doctor finds what is wrong with a machine, and says what to do."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from nas import doctor, machine
from nas.cli.app import application
from nas.doctor import Finding, Level
from nas.history import Entry
from nas.home import open_log
from nas.standing import current, snapshot
from workers.errors import DamagedError

GIB = 1 << 30


def levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize("name", ["workers", "nas", "search_spaces"])
def test_a_users_folder_that_shadows_ours_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.py").touch()
    found = list(doctor.shadows([tmp_path, tmp_path]))
    assert levels(found) == [Level.WARNING]
    assert str(tmp_path / name) in found[0].found
    assert f"package {name}" in found[0].remedy


def test_a_users_module_that_shadows_ours_is_found(tmp_path: Path) -> None:
    (tmp_path / "workers.py").touch()
    assert levels(list(doctor.shadows([tmp_path]))) == [Level.WARNING]


def test_our_own_folders_and_those_without_python_shadow_nothing(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "notes.txt").touch()
    (tmp_path / "nas").touch()  # as the command line lies in an environment's bin
    home = Path(doctor.__file__).parent.parent
    assert levels(list(doctor.shadows([tmp_path, home]))) == [Level.FINE]


@pytest.mark.parametrize(
    ("available", "limit", "level"),
    [
        (8 * GIB, None, Level.FINE),
        (GIB, None, Level.WARNING),
        (8 * GIB, GIB, Level.WARNING),
        (8 * GIB, 4 * GIB, Level.FINE),
    ],
)
def test_memory(monkeypatch: pytest.MonkeyPatch, available: int, limit: int | None, level: Level) -> None:
    monkeypatch.setattr(machine, "memory", lambda: (16 * GIB, available))
    monkeypatch.setattr(machine, "memory_allowed", lambda: limit)
    assert doctor.memory().level is level


@pytest.mark.parametrize(
    ("limits", "level"),
    [(None, Level.FINE), ((-1, -1), Level.FINE), ((256, 4096), Level.WARNING), ((65536, 65536), Level.FINE)],
)
def test_open_files(monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int] | None, level: Level) -> None:
    monkeypatch.setattr(machine, "descriptors", lambda: limits)
    assert doctor.descriptors().level is level
    if level is Level.WARNING:
        assert doctor.descriptors().remedy == "ulimit -n 4096"


@pytest.mark.parametrize(("total", "level"), [(None, Level.NOTE), (64 << 20, Level.WARNING), (4 * GIB, Level.FINE)])
def test_shared_memory(monkeypatch: pytest.MonkeyPatch, total: int | None, level: Level) -> None:
    monkeypatch.setattr(machine, "shared_memory", lambda: total)
    assert doctor.shared_memory().level is level


@pytest.mark.parametrize(("granted", "level"), [(None, Level.FINE), (0.5, Level.NOTE)])
def test_cores(monkeypatch: pytest.MonkeyPatch, granted: float | None, level: Level) -> None:
    monkeypatch.setattr(machine, "cores_allowed", lambda: granted)
    assert doctor.cores().level is level


@pytest.mark.parametrize(
    ("free", "level"), [(GIB // 32, Level.BROKEN), (GIB // 2, Level.WARNING), (2 * GIB, Level.FINE)]
)
def test_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: Level) -> None:
    monkeypatch.setattr(machine, "free_disk", lambda _: free)
    assert doctor.disk(tmp_path).level is level


def test_sqlite_on_a_network_file_system_is_broken(tmp_path: Path) -> None:
    assert doctor.file_system("nfs4", tmp_path).level is Level.BROKEN
    assert "postgresql" in doctor.file_system("nfs4", tmp_path).remedy
    assert doctor.file_system("ext4", tmp_path).level is Level.FINE


def test_a_home_that_cannot_be_written_is_broken() -> None:
    assert doctor.writable(Path("/proc/home")).level is Level.BROKEN  # where not even root makes a folder


def test_a_home_that_is_a_file_is_broken(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert doctor.writable(tmp_path / "home" / "inside").level is Level.BROKEN


def test_a_missing_distribution_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=1.26", "no-such-thing[extra]>=2; python_version > '3'", 'timm>=1; extra == "test"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: wanted)
    found = list(doctor.packages())
    assert levels(found) == [Level.BROKEN]
    assert found[0].found == "missing: no-such-thing"


def test_the_names_of_requirements_are_read_as_packaging_reads_them() -> None:
    for written in importlib.metadata.requires("cellwright") or []:
        read = Requirement(written)
        only_extra = read.marker is not None and "extra" in str(read.marker)
        assert doctor._distribution(written) == ("" if only_extra else read.name)


@pytest.mark.parametrize(
    ("cuda", "card", "level"), [(True, True, Level.FINE), (False, True, Level.WARNING), (False, False, Level.FINE)]
)
def test_torch_and_the_card(monkeypatch: pytest.MonkeyPatch, cuda: bool, card: bool, level: Level) -> None:
    devices = SimpleNamespace(is_available=lambda: cuda, device_count=lambda: 1, get_device_name=lambda _: "H")
    module = SimpleNamespace(__version__="2.0", cuda=devices, version=SimpleNamespace(cuda=None))
    monkeypatch.setattr(doctor, "_import", lambda _: (module, ""))
    monkeypatch.setattr(machine, "nvidia_card", lambda: card)
    assert doctor.torch().level is level


@pytest.mark.parametrize(
    ("check", "level"), [("torch", Level.BROKEN), ("ray", Level.WARNING), ("torchvision", Level.WARNING)]
)
def test_what_cannot_be_imported_is_said(monkeypatch: pytest.MonkeyPatch, check: str, level: Level) -> None:
    monkeypatch.setattr(doctor, "_import", lambda _: (None, "cannot be imported: why"))
    monkeypatch.setattr(doctor, "_installed", lambda _: True)
    found: Finding = getattr(doctor, check)()
    assert found.level is level
    assert "why" in found.found
    assert found.remedy


def test_an_import_that_fails_is_an_answer() -> None:
    module, trouble = doctor._import("no_such_module_at_all")
    assert module is None
    assert re.match("cannot be imported: No module named", trouble)


def test_a_search_that_a_dead_driver_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_log()) as log:
        log.create("digits-a", {}, {})
        log.acquire("digits-a")
    place = os.environ["NAS_HOME"]
    assert levels(list(doctor.abandoned(place))) == [Level.FINE]
    monkeypatch.setattr("nas.process.Process.gone", lambda _: True)
    found = list(doctor.abandoned(place))
    assert levels(found) == [Level.WARNING]
    assert found[0].remedy == "nas resume digits-a"


def test_a_damaged_journal_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "digits-a"
    folder.mkdir(parents=True)
    (folder / "journal.sqlite").write_bytes(b"not a database at all" * 100)
    found = list(doctor.abandoned(str(tmp_path / "home")))
    assert levels(found) == [Level.WARNING]
    assert "digits-a" in found[0].found
    assert "nas resume digits-a --force" in found[0].remedy


def test_an_old_entry_that_was_spoiled_is_found_though_nobody_reads_it_any_more() -> None:
    with closing(open_log()) as log:
        log.create("digits-a", {}, {})
        epoch = log.acquire("digits-a")
        log.append("digits-a", epoch, [Entry(0, 1.0, "note", None, {"text": "a bird"}) for _ in range(9)])
        log.keep("digits-a", epoch, snapshot(current(log, log.header("digits-a"))))
        log.release("digits-a", epoch, "interrupted")
    place = os.environ["NAS_HOME"]
    assert levels(list(doctor.abandoned(place))) == [Level.FINE]
    with closing(sqlite3.connect(Path(place) / "digits-a" / "journal.sqlite")) as file, file:
        file.execute("UPDATE entry SET body = replace(body, 'bird', 'fish') WHERE sequence = 3")
    (found,) = doctor.abandoned(place)
    assert found.level is Level.WARNING
    assert found.found == "digits-a is damaged: entry 3 is not as it was written"
    with closing(open_log()) as log:
        assert current(log, log.header("digits-a")).history.state == "interrupted"  # what `nas status` shows
        with pytest.raises(DamagedError, match="entry 3 is not as it was written"):
            log.check("digits-a")


@pytest.mark.parametrize(("level", "code"), [(Level.BROKEN, 1), (Level.WARNING, 0), (Level.FINE, 0)])
def test_the_exit_code_is_1_if_something_is_broken(monkeypatch: pytest.MonkeyPatch, level: Level, code: int) -> None:
    finding = Finding("disk", level, "full", "make room")
    monkeypatch.setattr(doctor, "examine", lambda _: iter([finding]))
    said = CliRunner().invoke(application(), ["doctor"])
    assert said.exit_code == code
    assert "-> make room" in said.stdout
    told = CliRunner().invoke(application(), ["doctor", "--json"])
    assert told.exit_code == code
    assert json.loads(told.stdout) == [{"check": "disk", "level": str(level), "found": "full", "remedy": "make room"}]


def test_every_check_answers_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_import", lambda name: (None, f"{name} not tried here"))
    found = {finding.check: finding.level for finding in doctor.examine()}
    checks = list(found)
    assert [check for check, level in found.items() if level is Level.BROKEN] == ["torch"]
    assert len(checks) >= 13
    assert {"python", "memory", "torch", "ray", "journals", "disk", "file system", "searches"} <= set(checks)
