"""Which Python a cluster's job runs, and what is said where it has none that fits."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from nas.remote.submission import ENTRYPOINT, Submission, _why


def began(programs: Path) -> str:
    """What a job prints whose shell has only these programs."""
    said = subprocess.run(ENTRYPOINT, shell=True, env={"PATH": str(programs)}, capture_output=True, text=True)
    return said.stdout + said.stderr


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


class Ended:
    """Stands for a job server whose job has said something, and ended."""

    def __init__(self, said: str) -> None:
        self.said = said

    def logs(self, job: str) -> str:
        return f"Running entrypoint for job nas-try: {ENTRYPOINT}\n{self.said}"

    def message(self, job: str) -> str:
        return "Job entrypoint command failed"


def why(said: str) -> str:
    invitation: Any = None
    server: Any = Ended(said)
    return _why(Submission("try", "nas-try", 0, invitation), server)


def test_python_is_taken_or_else_python3(tmp_path: Path) -> None:
    program(tmp_path, "python3", 'echo "third: $*"')
    assert began(tmp_path) == "third: -P -m nas.remote.driver\n"
    program(tmp_path, "python", 'echo "first: $*"')
    assert began(tmp_path) == "first: -P -m nas.remote.driver\n"


@pytest.mark.parametrize("said", ["", "/bin/sh: line 1: exec: python: not found", "sh: python: command not found"])
def test_where_there_is_no_python_that_is_said(tmp_path: Path, said: str) -> None:
    assert "neither python nor python3: start Ray where its environment" in why(said or began(tmp_path))


def test_where_python_is_too_old_that_is_said(tmp_path: Path) -> None:
    program(tmp_path, "python", "echo Unknown option: -P; echo 'usage: python [option] ...'; exit 2")
    assert "older than 3.11" in why(began(tmp_path))
    assert "older" not in why("something else")
