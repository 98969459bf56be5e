"""The image, as far as that can be told without building one."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from deployment import DEPLOY, PROJECT, ROOT

TEXT = (DEPLOY / "Dockerfile").read_text()
LINES = re.sub(r"\\\n\s*", " ", TEXT).splitlines()
IGNORED = [one for one in (ROOT / ".dockerignore").read_text().splitlines() if one and not one.startswith("#")]


def instructions(name: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in LINES if line.startswith(f"{name} ")]


def copied() -> list[str]:
    """What is copied from the repository."""
    copies = [one.split() for one in instructions("COPY") if "--from" not in one]
    return [word for words in copies for word in words[:-1] if not word.startswith("--")]


def test_hadolint_finds_nothing(require: Callable[[str, bool, str], None]) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    require("hadolint", linter.is_file(), "hadolint is not installed: pip install 'cellwright[test]'")
    found = subprocess.run([str(linter), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_what_is_copied_is_there_and_nothing_else_is_sent() -> None:
    allowed = {one[1:] for one in IGNORED if one.startswith("!")}
    assert IGNORED[0] == "*"
    assert set(copied()) == allowed
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert not any(fnmatch.fnmatch("deploy/secrets/ray_token", pattern) for pattern in allowed)


def test_every_package_is_in_the_image() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert {one.rstrip("*") for one in settings["include"]} <= set(copied())


def test_what_is_installed_is_pinned_and_known() -> None:
    installs = [line for line in instructions("RUN") if "pip install" in line]
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)
    (extras,) = re.findall(r'"\.\[([a-z0-9,]+)\]"', TEXT)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    python = instructions("ARG")[0].partition("=")[2]
    floor = PROJECT["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.split("."))) >= tuple(map(int, floor.split(".")))
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" == python or "CI" in os.environ


def test_it_runs_as_nobody_special_and_says_how_it_is() -> None:
    assert instructions("USER") == ["10001:10001"]
    last = TEXT.rindex("\nFROM")
    assert TEXT.index("\nUSER") > last
    assert len(instructions("HEALTHCHECK")) == 1
    assert "RAY_AUTH_MODE=token" in TEXT
    assert "RAY_USAGE_STATS_ENABLED=0" in TEXT
    assert all(re.fullmatch(r"python:\$\{PYTHON\}-slim-\w+( AS \w+)?", one) for one in instructions("FROM"))


def test_a_login_shell_finds_ray(tmp_path: Path) -> None:
    """Debian's /etc/profile sets PATH anew, and then reads /etc/profile.d."""
    from ray.autoscaler._private.command_runner import _with_interactive

    assert "--login" in _with_interactive("ray start")
    (said,) = (part for line in instructions("RUN") for part in line.split("&&") if "/etc/profile.d/" in part)
    command = said.replace("/etc/profile.d", str(tmp_path)) + f"; PATH=/usr/bin:/bin; . {tmp_path}/*.sh; echo $PATH"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    (path,) = re.findall(r"ENV PATH=([^:\s]+):\$\{PATH\}", TEXT[TEXT.rindex("\nFROM") :])
    assert done.stdout == f"{path}:/usr/bin:/bin\n"


def test_no_secret_is_in_it() -> None:
    words = re.findall(r"(?i)\b\w*(?:password|token|secret)\w*=\S+", TEXT)
    assert words == ["RAY_AUTH_MODE=token"] or words == []
    assert instructions("ADD") == []


@pytest.mark.slow
def test_what_is_copied_is_enough_to_build_and_to_run(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for name in copied():
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif "/" not in name:
            shutil.copy(path, source / name)
    wheel = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*wheel, str(target), str(source)], check=True, capture_output=True, text=True)
    environment = {**os.environ, "PYTHONPATH": str(target), "PYTHONSAFEPATH": "1"}
    program = "import nas, sys; from nas.__main__ import main; sys.stderr.write(nas.__file__); main()"
    shown = subprocess.run(
        [sys.executable, "-c", program, "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr.startswith(str(target))
    assert "Usage" in shown.stdout
    templates = {
        path.relative_to(ROOT) for path in (ROOT / "nas").rglob("*") if path.suffix in (".html", ".css", ".js")
    }
    assert {path for path in templates if not (target / path).exists()} == set()
