"""The scripts of the image and of the deployments, run."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from threading import Thread
from typing import Any

import pytest
from deployment import DEPLOY

SHELL = [*sorted(DEPLOY.glob("*.sh")), *sorted(DEPLOY.glob("slurm/*"))]


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}
    return subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False, env=clean)


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path, require: Callable[[str, bool, str], None]) -> None:
    require("shellcheck", which("shellcheck") is not None, "shellcheck is not installed")
    found = run("shellcheck", script)
    assert (found.returncode, found.stdout) == (0, "")
    assert script.stat().st_mode & stat.S_IXUSR


def test_secrets_become_variables_of_the_command_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres_password").write_text("correct horse\n")
    (tmp_path / "ray_token").write_text("battery\n")
    shown = run(DEPLOY / "entry.sh", "env", SECRETS=str(tmp_path))
    assert "PGPASSWORD=correct horse\n" in shown.stdout
    assert f"RAY_AUTH_TOKEN_PATH={tmp_path}/ray_token\n" in shown.stdout
    without = run(DEPLOY / "entry.sh", "env", SECRETS=str(tmp_path / "nowhere"))
    assert "PGPASSWORD" not in without.stdout
    assert run(DEPLOY / "entry.sh", "sh", "-c", "exit 7").returncode == 7


def test_secrets_are_made_once_and_for_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = run(DEPLOY / "secrets.sh", folder)
    assert first.returncode == 0, first.stderr
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in folder.iterdir())
    tokens = {name: text.strip() for name, text in made.items() if name.endswith(("token", "password"))}
    assert len(set(tokens.values())) == len(tokens) == 4
    assert all(len(token) == 64 for token in tokens.values())
    assert not any(token.decode() in first.stdout + first.stderr for token in tokens.values())
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / "dashboard_certificate", folder / "dashboard_key")
    assert run(DEPLOY / "secrets.sh", folder).returncode == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made


@pytest.mark.parametrize(("status", "said", "code"), [(0, "resume digits", 0), (3, "run", 0), (1, "", 1), (2, "", 2)])
def test_a_driver_goes_on_with_what_is_there_and_begins_only_what_is_not(
    tmp_path: Path, status: int, said: str, code: int
) -> None:
    program = tmp_path / "nas"
    program.write_text(f'#!/bin/sh\n[ "$1" = status ] && exit {status}\necho "$@"\n')
    program.chmod(0o755)
    found = run(DEPLOY / "nas-driver.sh", "digits", "/jobs/job.yaml", PATH=f"{tmp_path}:{os.environ['PATH']}")
    if said == "run":
        said = "run /jobs/job.yaml --set name=digits --set pool=ray"
    assert (found.stdout.strip(), found.returncode) == (said, code)


class Services:
    """What Ray answers about its health; `asked` has the token of each question."""

    def __init__(self) -> None:
        self.answers = {"/api/local_raylet_healthz": (200, b"success"), "/api/gcs_healthz": (200, b"success")}
        self.asked: list[tuple[str, str | None]] = []


@pytest.fixture
def services() -> Iterator[tuple[Services, str]]:
    found = Services()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append((self.path, self.headers.get("Authorization")))
            code, body = found.answers[self.path]
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found, str(server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


def health(port: str, **environment: str) -> int:
    ports = {"RAY_AGENT_PORT": port, "RAY_DASHBOARD_PORT": port}
    return run(sys.executable, DEPLOY / "healthcheck.py", **{**ports, **environment}).returncode


def test_a_node_is_well_by_what_runs_on_it(services: tuple[Services, str], tmp_path: Path) -> None:
    found, port = services
    (tmp_path / "token").write_text("battery\n")
    assert health(port, CELLWRIGHT_ROLE="head", RAY_AUTH_TOKEN_PATH=str(tmp_path / "token")) == 0
    assert found.asked == [("/api/local_raylet_healthz", "Bearer battery"), ("/api/gcs_healthz", "Bearer battery")]
    found.answers["/api/gcs_healthz"] = (503, b"")
    assert health(port, CELLWRIGHT_ROLE="head") == 1
    assert health(port, CELLWRIGHT_ROLE="worker") == 0
    found.answers["/api/local_raylet_healthz"] = (200, b"the raylet is dead")
    assert health(port, CELLWRIGHT_ROLE="worker") == 1
    assert health("9", CELLWRIGHT_ROLE="worker") == 1
    assert health("9") == 0
