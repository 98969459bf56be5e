"""What the README and the examples show runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nas.cli.app import COMMANDS
from nas.job import Job
from nas.plan import Plan

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
JOBS = sorted((ROOT / "examples").glob("*.yaml"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_job_file_shown_is_a_job() -> None:
    (text,) = blocks("yaml")
    plan = Plan.of(Job.parse({**yaml.safe_load(text), "pool": "local"}))
    assert [objective.metric for objective in plan.objectives] == ["accuracy"]
    assert plan.finale.seeds == 2


def test_the_commands_shown_exist() -> None:
    shown = set(re.findall(r"\bnas ([a-z]+)\b", "".join(blocks("")) + "".join(re.findall(r"`[^`]+`", README))))
    known = {command.__name__.rstrip("_") for commands in COMMANDS.values() for command in commands}
    assert shown - known == set()
    assert {"init", "validate", "run", "resume", "export", "report"} <= shown


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_every_example_is_a_job(path: Path) -> None:
    job = Job.load(path)
    if path.stem != "cifar10":  # whose data are not here
        assert Plan.of(job).decisions


@pytest.mark.slow
def test_the_python_shown_runs(tmp_path: Path) -> None:
    (text,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    assert "alpha" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tune", "perceptron"])
def test_small_examples_run(name: str) -> None:
    command = [sys.executable, "-m", "nas", "run", f"examples/{name}.yaml", "--set", "budget.trials=3", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
