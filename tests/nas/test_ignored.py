"""Patterns mean what git says they mean."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nas.remote.ignored import Ignored

NAMES = st.text("ab.-", min_size=1, max_size=3).filter(lambda name: name.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
GLOBS = st.text("ab.-*?[]!\\/# ^", max_size=7)
LINES = st.one_of(GLOBS, PATHS, st.builds("{}{}{}".format, st.sampled_from(["", "!", "/", "**/"]), PATHS, GLOBS))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("ignored")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def ours(ignored: Ignored, path: str) -> bool:
    """As a walk from the top does it: what is in an ignored folder is never asked for."""
    parts = path.split("/")
    above = any(ignored("/".join(parts[:end]), True) for end in range(1, len(parts)))
    return above or ignored(path, False)


def gits(folder: Path, paths: list[str]) -> list[bool]:
    asked = "\0".join(paths) + "\0"
    said = subprocess.run(
        ["git", "-C", str(folder), "check-ignore", "--no-index", "-z", "-v", "-n", "--stdin"],
        input=asked.encode(),
        capture_output=True,
        check=False,
    ).stdout.decode()
    fields = said.split("\0")[:-1]
    return [bool(pattern) and not pattern.startswith("!") for pattern in fields[2::4]]


@example(lines=["/a*b", "/a?a", "/b[!c]b"], paths=["a/b", "axb", "a/a", "b/b", "bab", "a/xb"])
@example(lines=["/**/a", "b/**", "a/**/b", "!a/b"], paths=["a", "b", "b/b", "x/b/a", "a/b", "a/x/x/b"])
@settings(max_examples=60)
@given(lines=st.lists(LINES, min_size=1, max_size=4), paths=st.lists(PATHS, min_size=1, max_size=8, unique=True))
def test_they_ignore_what_git_ignores(repository: Path, lines: list[str], paths: list[str]) -> None:
    (repository / ".gitignore").write_text("\n".join(lines) + "\n")
    ignored = Ignored().below("", lines)
    assert [ours(ignored, path) for path in paths] == gits(repository, paths), (lines, paths)


def test_a_list_in_a_folder_is_about_that_folder_and_goes_before_those_above() -> None:
    ignored = Ignored().below("", ["*.log", "/top"]).below("a/", ["!keep.log", "/top"])
    assert ignored("x.log", False)
    assert not ignored("a/keep.log", False)
    assert ignored("top", False)
    assert ignored("a/top", False)
    assert not ignored("b/top", False)
