"""What the README and the examples show runs as it stands."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import nas
from nas.cli.app import COMMANDS
from nas.job import Job
from nas.plan import Plan
from search_spaces.decision import Choice
from search_spaces.decisions import Decisions
from search_spaces.space import Signature
from workers.objectives import Direction, Objective

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OWN = (ROOT / "docs" / "own.md").read_text()
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
@pytest.mark.parametrize("name", ["tune", "tune_grid", "tune_tpe", "tune_surrogate"])
def test_small_examples_run(name: str) -> None:
    command = [sys.executable, "-m", "nas", "run", f"examples/{name}.yaml", "--set", "budget.trials=3", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr


def test_the_space_shown_is_one_that_exports_can_carry() -> None:
    (shown,) = [
        text for text in re.findall(r"^```python\n(.*?)^```", OWN, re.MULTILINE | re.DOTALL) if "Plain(Space)" in text
    ]
    names: dict[str, Any] = {"dataclass": dataclass}
    for module in ("decision", "decisions", "space"):
        names.update(vars(importlib.import_module(f"search_spaces.{module}")))
    exec(compile(shown, "own.md", "exec", dont_inherit=True), names)
    space = names["Plain"](deepest=4)
    chosen = space.decisions.candidate({"depth": 4, "width": 16})
    made = space.blueprint(chosen, Signature("image_classification", {"image": (3, 8, 8)}, {"logits": (10,)}))
    assert made.arguments == {"channels": 3, "classes": 10, "depth": 4, "width": 16}


def test_the_task_shown_is_the_example_and_short() -> None:
    example = (ROOT / "examples" / "waves.py").read_text()
    assert f"```python\n{example}```" in OWN
    assert len(example.splitlines()) < 60


def test_the_strategy_shown_is_one_and_rules_go_around_it() -> None:
    shown = [text for text in re.findall(r"^```python\n(.*?)^```", OWN, re.MULTILINE | re.DOTALL) if "Climb" in text]
    names: dict[str, Any] = {
        "decisions": Decisions({"depth": Choice(tuple(range(20)), ordered=True)}),
        "score": Objective("score", Direction.MAXIMIZE),
        "fit": lambda candidate: candidate["depth"] / 20,
    }
    for module in (
        "nas.strategy",
        "nas.wrappers.deduplicate",
        "nas.wrappers.retry",
        "nas.wrappers.target",
        "workers.objectives",
        "workers.trial",
    ):
        names.update(vars(importlib.import_module(module)))
    for text in shown:
        exec(compile(text, "own.md", "exec", dont_inherit=True), names)
    assert len(shown) == 2
    assert names["strategy"].reached.endswith("score 0.95, asked 0.95")
    assert names["trial"] is None


def test_what_is_said_of_a_search_in_python_is_there() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", OWN.split("## From Python")[1], re.MULTILINE)
    named = set(re.findall(r"`(\w+)", " ".join(rows)))
    public = {name for name in dir(nas.Search) if not name.startswith("_")}
    assert named - public == {"id"}  # an attribute of each
    assert public - named == {"close", "history", "objectives"}
