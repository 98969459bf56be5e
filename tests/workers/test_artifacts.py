from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from workers.artifacts import ArtifactRecord, Artifacts, Stored
from workers.errors import DamagedError, NotFoundError, UserError


@pytest.fixture(params=["folder", "url"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    if request.param == "folder":
        return Artifacts.open(str(tmp_path))
    pytest.importorskip("fsspec")
    return Artifacts.open(f"file://{tmp_path}")


def test_what_is_put_is_got(artifacts: Artifacts, tmp_path: Path) -> None:
    record = artifacts.put("s", 3, 1, "a.bin", b"content")
    assert record == ArtifactRecord("a.bin", 7, hashlib.sha256(b"content").hexdigest())
    assert artifacts.get("s", 3, 1, "a.bin") == b"content"
    assert (tmp_path / "s" / "3" / "1" / "a.bin").read_bytes() == b"content"
    artifacts.put("s", 3, 1, "a.bin", b"other")
    assert artifacts.get("s", 3, 1, "a.bin") == b"other"
    (tmp_path / "file").write_bytes(b"from a file")
    artifacts.put("s", 3, 2, "b", tmp_path / "file")
    artifacts.put("s", 12, 1, "c", b"")
    artifacts.put("t", 1, 1, "d", b"")
    assert artifacts.list("s") == (Stored(3, 1, "a.bin", 5), Stored(3, 2, "b", 11), Stored(12, 1, "c", 0))
    artifacts.delete("s", 3, 1, "a.bin")
    artifacts.delete("s", 3, 1, "a.bin")
    assert [one.name for one in artifacts.list("s")] == ["b", "c"]
    assert artifacts.list("nothing") == ()


def test_files_of_a_search_as_a_whole_are_no_trials(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.put_whole("s", "files.zip", b"content")
    artifacts.put("s", 1, 1, "a", b"")
    assert artifacts.get_whole("s", "files.zip") == b"content"
    assert (tmp_path / "s" / "job" / "files.zip").read_bytes() == b"content"
    assert [one.name for one in artifacts.list("s")] == ["a"]
    with pytest.raises(NotFoundError, match=r"there is no driver.log of s in "):
        artifacts.get_whole("s", "driver.log")
    with pytest.raises(UserError, match="cannot be part of a path"):
        artifacts.put_whole("s", "../files.zip", b"")


def test_what_is_not_there_is_said(artifacts: Artifacts) -> None:
    with pytest.raises(NotFoundError, match="there is no a of trial 1, attempt 2"):
        artifacts.get("s", 1, 2, "a")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b"])
def test_names_cannot_leave_their_folder(artifacts: Artifacts, name: str) -> None:
    with pytest.raises(UserError, match="cannot be part of a path"):
        artifacts.put("s", 1, 1, name, b"")
    with pytest.raises(UserError, match="cannot be part of a path"):
        artifacts.put(name, 1, 1, "a", b"")


@given(content=st.binary(min_size=1, max_size=64), where=st.integers(0, 63), cut=st.booleans())
@settings(max_examples=50, deadline=None)
def test_torn_and_changed_files_are_detected(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, where: int, cut: bool
) -> None:
    root = tmp_path_factory.mktemp("torn")
    artifacts, path = Artifacts.open(str(root)), root / "s" / "1" / "1" / "a"
    artifacts.put("s", 1, 1, "a", content)
    where %= len(content)
    path.write_bytes(content[:where] if cut else content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :])
    with pytest.raises(DamagedError, match=r"a of trial 1, attempt 1 in .* is damaged"):
        artifacts.get("s", 1, 1, "a")


def test_the_digest_beside_a_file_is_what_sha256sum_reads(tmp_path: Path) -> None:
    Artifacts.open(str(tmp_path)).put("s", 1, 1, "a", b"content")
    done = subprocess.run(["sha256sum", "-c", "a.sha256"], cwd=tmp_path / "s/1/1", capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "a: OK\n")


class Killed(BaseException):
    """The process dies here: nothing that follows runs, not even clearing up."""


class Dying(RuleBasedStateMachine):
    """Puts that die at any of their steps: what is read is always the whole of one put."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.artifacts = Artifacts.open(str(self.root))
        self.possible: set[bytes | None] = {None}

    @rule(content=st.binary(max_size=5))
    def put(self, content: bytes) -> None:
        self.artifacts.put("s", 1, 1, "a", content)
        self.possible = {content}

    @rule(content=st.binary(max_size=5), step=st.integers(0, 6))
    def put_and_die(self, content: bytes, step: int) -> None:
        left = iter(range(step))
        real_replace, real_fsync = Path.replace, os.fsync

        def maybe_die() -> None:
            if next(left, None) is None:
                raise Killed

        def replace(self: Path, target: Path) -> Path:
            maybe_die()
            replaced = real_replace(self, target)
            maybe_die()
            return replaced

        def fsync(handle: int) -> None:
            maybe_die()
            real_fsync(handle)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            patch.setattr("os.fsync", fsync)
            patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
            try:
                self.artifacts.put("s", 1, 1, "a", content)
                self.possible = {content}
            except Killed:
                self.possible.add(content)

    @rule()
    def delete(self) -> None:
        self.artifacts.delete("s", 1, 1, "a")
        self.possible = {None}

    @invariant()
    def whole_or_nothing(self) -> None:
        try:
            found: bytes | None = self.artifacts.get("s", 1, 1, "a")
        except NotFoundError:
            found = None
        assert found in self.possible
        names = [one.name for one in self.artifacts.list("s")]
        assert names in ([], ["a"])


TestDying = Dying.TestCase
TestDying.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)


def test_what_killed_puts_left_behind_goes_with_the_file(tmp_path: Path) -> None:
    artifacts = Artifacts.open(str(tmp_path))
    artifacts.put("s", 1, 1, "a", b"content")
    artifacts.put("s", 1, 2, "a", b"content")
    (tmp_path / "s/1/1/.a-half").write_bytes(b"con")
    artifacts.delete("s", 1, 1, "a")
    assert [path.name for path in (tmp_path / "s/1").iterdir()] == ["2"]
    artifacts.delete("s", 1, 2, "a")
    assert list((tmp_path / "s").iterdir()) == []


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = Artifacts.open(str(tmp_path))
    artifacts.put("s", 1, 1, "a", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"a of trial 1 cannot be stored .*No space left"):
        artifacts.put("s", 1, 1, "a", b"new")
    assert artifacts.get("s", 1, 1, "a") == b"old"
    assert sorted(path.name for path in (tmp_path / "s/1/1").iterdir()) == ["a", "a.sha256"]


def test_a_url_that_cannot_be_reached_is_named() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(UserError, match="artifacts at nowhere://bucket cannot be reached"):
        Artifacts.open("nowhere://bucket")


def test_a_memory_file_system_works_as_well() -> None:
    pytest.importorskip("fsspec")
    artifacts = Artifacts.open("memory://runs")
    artifacts.put("s", 1, 1, "a", b"content")
    assert artifacts.get("s", 1, 1, "a") == b"content"
    assert artifacts.list("s") == (Stored(1, 1, "a", 7),)
    artifacts.delete("s", 1, 1, "a")
    assert artifacts.list("s") == ()


def test_the_files_of_one_trial_are_listed_without_the_others(artifacts: Artifacts) -> None:
    for trial in (1, 11):
        artifacts.put("s", trial, 1, "traceback.txt", b"why")
    assert [(one.trial, one.name) for one in artifacts.list("s", 11)] == [(11, "traceback.txt")]
    assert artifacts.list("s", 2) == ()
    assert len(artifacts.list("s")) == 2
