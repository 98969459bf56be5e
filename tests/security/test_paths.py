"""Names that would leave their folder: the payloads with which MLflow's stores were left, against every way in."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nas.cli.app import application
from nas.home import open_log
from nas.job import Job
from workers.artifacts import Artifacts
from workers.errors import UserError

# CVE-2023-1177, CVE-2023-2356 (..), CVE-2023-2780 (backslashes), CVE-2024-1560 (decoded twice), CVE-2026-2614
PAYLOADS = (
    "../secret",
    "..",
    "../../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\secret",
    "C:\\secret",
    "%2e%2e%2fsecret",
    "%252e%252e%252fsecret",
    "..%2fsecret",
    "..%5csecret",
    "....//secret",
    "./secret",
    "file:///etc/passwd",
    "secret\x00.txt",
    "~/secret",
    "-rf",
    "a/../../secret",
    "．．/secret",  # full-width dots
    "",
    " ",
)
COMMANDS = (
    ["status"],
    ["trials"],
    ["best"],
    ["show"],
    ["stop"],
    ["resume"],
    ["export"],
    ["report"],
)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """What must not be reached: a journal beside the folder of journals, and a file."""
    (tmp_path / "journals").mkdir()
    log = open_log(str(tmp_path))
    log.create("secret", {"name": "secret"}, {})
    log.close()
    return tmp_path


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_log_leaves_its_folder(secret: Path, payload: str) -> None:
    log = open_log(str(secret / "journals"))
    for call in (
        log.header,
        log.acquire,
        lambda name: list(log.entries(name)),
        lambda name: log.request(name, "stop", {}),
        lambda name: log.create(name, {}, {}),
        lambda name: log.snapshot(name, "standing"),
    ):
        with pytest.raises(UserError):
            call(payload)
    log.close()
    assert sorted(path.name for path in secret.iterdir()) == ["journals", "secret"]
    assert list((secret / "journals").iterdir()) == []


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("place", ["folder", "url"])
def test_no_artifact_leaves_its_folder(secret: Path, payload: str, place: str) -> None:
    root = secret / "journals"
    (secret / "secret" / "1").mkdir()
    artifacts = Artifacts.open(str(root) if place == "folder" else f"file://{root}")
    for search, name in ((payload, "a"), ("s", payload)):
        for call in (
            lambda search=search, name=name: artifacts.put(search, 1, 1, name, b"x"),
            lambda search=search, name=name: artifacts.get(search, 1, 1, name),
            lambda search=search, name=name: artifacts.delete(search, 1, 1, name),
        ):
            try:
                call()
            except UserError:
                continue
    outside = {path for path in secret.rglob("*") if path.is_file() and not path.is_relative_to(root)}
    assert {path.relative_to(secret).as_posix() for path in outside} <= {"secret/journal.sqlite"}
    for path in root.rglob("*"):
        assert path.resolve().is_relative_to(root.resolve())


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_command_takes_such_a_name(secret: Path, payload: str, command: list[str]) -> None:
    home = secret / "journals"
    result = CliRunner().invoke(application(), [*command, "--journal", str(home), "--", payload])
    assert result.exit_code not in (0, 1) or isinstance(result.exception, SystemExit)
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert sorted(path.name for path in secret.iterdir()) == ["journals", "secret"]


@pytest.mark.parametrize("payload", [one for one in PAYLOADS if one])
def test_no_job_takes_such_a_name(payload: str) -> None:
    with pytest.raises(UserError, match="name"):
        Job.parse({"name": payload, "task": {"name": "image_classification"}})
