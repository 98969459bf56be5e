"""Client, driver and workers of a submitted job agree on the code and on the artifacts, or nothing begins."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from workers.artifacts import Artifacts
from workers.errors import UserError
from workers.invitation import Invitation, enter
from workers.plugins import Spec
from workers.pools.actor import Actor
from workers.release import digest, folders, release, release_of
from workers.setup import Setup

INVITATION = Invitation("try", "postgresql://me:hunter2@host/base", 1.5, "abc", "source 1", "0f", {"GIVEN": "value"})


@pytest.fixture
def travelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the search's artifacts, in a process to which the invitation has travelled."""
    monkeypatch.syspath_prepend(str(INVITATION.write(tmp_path).parent))
    monkeypatch.setenv("GIVEN", "before")
    Artifacts.open(str(tmp_path)).put_whole("try", INVITATION.greeting, b"abc")
    return tmp_path


def test_an_invitation_is_found_where_it_travelled_and_is_for_its_owner_alone(travelled: Path) -> None:
    assert Invitation.found() == INVITATION
    path = travelled / "cellwright_invitation" / "invitation.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["journal"] == INVITATION.journal


def test_a_process_of_no_submitted_job_has_none() -> None:
    assert Invitation.found() is None
    enter(Setup("try", Spec("nothing")))


def test_a_worker_takes_the_environment_and_looks_at_the_artifacts(travelled: Path) -> None:
    enter(Setup("try", Spec("nothing"), artifacts=str(travelled), release=release()))
    assert os.environ["GIVEN"] == "value"


def test_a_worker_that_does_not_see_the_artifacts_is_refused(travelled: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not see what was written to .*elsewhere"):
        enter(Setup("try", Spec("nothing"), artifacts=str(tmp_path / "elsewhere")))
    Artifacts.open(str(tmp_path)).put_whole("try", INVITATION.greeting, b"another")
    with pytest.raises(UserError, match=r"does not see what was written to .* \(another\)"):
        enter(Setup("try", Spec("nothing"), artifacts=str(tmp_path)))


def test_a_worker_with_other_code_refuses_with_both_releases() -> None:
    setup = Setup("try", Spec("nothing"), release="source 0123456789ab, python 3.9, ray 2.0.0, torch 2.1")
    said = Actor(json.dumps(setup.json())).ready()
    assert f"has {release()}, but its driver has {setup.release}" in said
    assert "install the same" in said


def test_a_release_changes_with_one_character_of_source_and_only_with_source(tmp_path: Path) -> None:
    for folder in folders():
        shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    copies = [tmp_path / folder.name for folder in folders()]
    before = release_of(copies)
    assert digest(copies) == digest(folders())
    assert f"python {sys.version_info.major}.{sys.version_info.minor}" in before
    (copies[1] / "notes.txt").write_text("no source")
    assert release_of(copies) == before
    path = copies[1] / "epochs.py"
    path.write_text("# one more\n")
    assert release_of(copies) != before
