"""The commands and their JSON are those of `docs/cli.md`; and a command imports no more than it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from nas.cli.app import COMMANDS, application
from nas.cli.exits import Exit
from nas.home import open_log
from nas.jobfile.template import TEMPLATE

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
JOB = """\
name: tune
task: {name: "tuned:train", decisions: {x: {range: [0.0, 1.0]}}}
budget: {trials: 2}
pool: {name: local, slots: 1}
final: {top: 0}
"""


def told(*arguments: str) -> Any:
    found = CliRunner().invoke(application(), [*arguments, "--json"])
    assert found.exit_code == 0, found.stderr
    return json.loads(found.stdout)


def section(title: str) -> list[list[str]]:
    """The rows of the table below a title of the page, cell by cell."""
    text = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def keys(command: str) -> set[str]:
    """The keys that the page promises for a command."""
    text = {row[0].strip("`"): row[1] for row in section("JSON")}[f"nas {command}"]
    again = re.search(r"the same as `nas (\w+)`", text)
    return keys(again[1]) if again else set(re.findall(r"`(\w+)`", text))


def test_the_page_lists_every_command_with_its_options() -> None:
    group: Any = typer.main.get_command(application())
    commands = {}
    for name, command in group.commands.items():
        options = {max(one.opts, key=len) for one in command.params if one.param_type_name == "option"}
        commands[name] = options - {"--help", "--h"}
    written = {row[0].split()[1].strip("`"): set(re.findall(r"--[\w-]+", row[2])) for row in section("Commands")}
    assert written == commands


def test_every_command_stands_in_a_panel_of_the_help_with_one_sentence() -> None:
    shown = CliRunner().invoke(application(), ["--help"]).stdout
    for panel, commands in COMMANDS.items():
        assert f" {panel} " in shown
        for command in commands:
            first = (command.__doc__ or "").strip().splitlines()[0]
            assert first.endswith(".")
            assert re.search(rf"│ {command.__name__.rstrip('_')} +{re.escape(first.split()[0])}", shown)


@pytest.mark.parametrize("command", [one.__name__.rstrip("_") for panel in COMMANDS.values() for one in panel])
def test_every_command_has_help(command: str) -> None:
    found = CliRunner().invoke(application(), [command, "--help"])
    assert found.exit_code == 0
    assert f"nas {command}" in found.stdout or f"root {command}" in found.stdout


def test_the_page_lists_every_exit_code() -> None:
    assert {int(row[0]) for row in section("Exit codes")} == set(map(int, Exit))


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a search has run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "tuned.py").write_text("def train(decisions):\n    return decisions['x']\n")
    assert CliRunner().invoke(application(), ["run", "job.yaml", "-q"]).exit_code == 0
    return tmp_path


def test_json_has_the_keys_of_the_page(searched: Path) -> None:
    for command in ("list", "trials", "best", "gc", "doctor"):
        found = told(command)
        assert found
        assert all(set(one) == keys(command) for one in found), command
    assert set(told("compare", "tune", "tune")[0]) == keys("compare")
    assert set(told("status")) == keys("status")
    left_out = {"example", "multiply_adds_per_second", "seconds"}
    assert set(told("validate", "job.yaml")) == keys("validate") - left_out


def test_json_of_a_space_has_the_keys_of_the_page(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(TEMPLATE)
    found = told("validate", str(job))
    assert set(found) == keys("validate")
    assert found["example"]["parts"]
    candidate = tmp_path / "candidate.json"
    candidate.write_text(json.dumps(found["example"]))
    shown = told("show", str(candidate), "--space", "{name: pnas, blocks: 3}")
    assert set(shown) == keys("show")


def imported(*arguments: str) -> set[str]:
    """The modules that a process has imported when a command has ended."""
    script = """
import sys
from nas.__main__ import main
try:
    main()
finally:
    sys.stderr.write("\\n".join(["", "--", *sys.modules]))
"""
    said = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    return set(said.stderr.rpartition("--\n")[2].split("\n"))


HEAVY = {"torch", "ray", "numpy", "sklearn", "yaml", "nas.job", "nas.plan", "nas.driver", "workers.workshop", "onnx"}


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["list"], ["status"], ["trials"], ["best"]])
def test_to_look_is_light(arguments: list[str]) -> None:
    log = open_log()
    log.create("digits-a", {"objectives": [{"metric": "accuracy", "direction": "maximize"}]}, {})
    log.close()
    modules = imported(*arguments)
    assert "nas.cli.app" in modules
    assert not modules & HEAVY
    if "--help" in arguments:
        assert not {"sqlite3", "workers", "search_spaces", "nas.history"} & modules


def test_to_drive_a_function_needs_no_torch(searched: Path) -> None:
    modules = imported("resume", "tune")
    assert "nas.driver" in modules
    assert not {"torch", "ray"} & modules
