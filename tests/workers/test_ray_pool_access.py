"""Who gets into a Ray cluster: into ours nobody from outside, and nobody without the token."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from cluster_host import descendants
from clusters import RayCluster

from workers.errors import UserError
from workers.plugins import Spec
from workers.pools.access import alone, check_version, introduced
from workers.pools.ray import Ray
from workers.setup import Setup

STRANGER = """
import ray
ray.init({address!r}, log_to_driver=False)
print("let in with", len(ray.nodes()))
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An environment and a home that know nothing of Ray."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    assert "RAY_AUTH_MODE" not in os.environ, "what was set for a cluster stays set"


def strangers(address: str, *environments: Mapping[str, str]) -> list[str]:
    """What other processes of this machine are told, one with each environment, all at once."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    patience = {"RAY_gcs_rpc_server_reconnect_timeout_s": "3", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", STRANGER.format(address=address)], env={**clean, **patience, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for environment in environments
    ]  # fmt: skip
    try:
        return [one.communicate(timeout=240)[0] for one in asking]
    finally:
        for one in asking:
            one.kill()
            one.communicate()


def listening(pids: Iterable[int]) -> set[str]:
    """The addresses at which the processes let connections in, as the kernel's tables have them."""
    held = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                held.add(str(descriptor.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in held:
                found.add(socket.inet_ntop(socket.AF_INET, bytes.fromhex(fields[1].partition(":")[0][-8:])[::-1]))
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("bare")
def test_a_cluster_of_our_own_is_on_loopback_and_asks_for_a_token_that_only_we_can_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trial.py").write_text("def train(values):\n    return 1.0\n\n\ntrain.decisions = {}\n")
    before = set(descendants(os.getpid()))
    with closing(Ray(Setup("s", Spec("trial:train"), folder=str(tmp_path)), slots=1)) as pool:
        while not pool.free:
            pool.wait(0.5)
        started = [pid for pid in descendants(os.getpid()) if pid not in before]
        assert len(started) > 3
        assert listening(started) == {"127.0.0.1"}
        path = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        token = path.read_text()
        assert len(token) >= 32
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert not any(token in Path(f"/proc/{pid}/cmdline").read_text() for pid in started)
        address = ray.get_runtime_context().gcs_address
        none, wrong, right = strangers(
            address,
            {"RAY_AUTH_MODE": "disabled"},
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64},
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)},
        )
        assert "let in" not in none
        assert "let in" not in wrong
        assert "let in with 1" in right
    assert not (tmp_path / ".ray").exists()
    said = capfd.readouterr()
    assert token not in said.out + said.err


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("bare")
def test_a_token_that_is_there_is_shown_and_a_wrong_one_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cluster = RayCluster(cpus=1)
    try:
        setup = Setup("s", Spec("trial:train"), folder=str(tmp_path))
        wrong = tmp_path / "wrong"
        wrong.write_text("f" * 64)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(wrong))
        with pytest.raises(UserError, match=r"may ask for another token.*RAY_AUTH_TOKEN_PATH"):
            Ray(setup, address=cluster.address)
        assert not ray.is_initialized()
        monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
        right = Path(cluster.environment["RAY_AUTH_TOKEN_PATH"])
        assert not (tmp_path / ".ray").exists()
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text(right.read_text())
        Ray(setup, address=cluster.address).close()
    finally:
        cluster.stop()


@pytest.mark.parametrize("version", ["2.53.1", "1.13.0", "2.9.3"])
def test_an_old_ray_is_refused(version: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"Ray {version} is installed, but at least 2.54 is needed")):
        check_version(version)


@pytest.mark.parametrize("version", ["2.54.0", "2.60.0", "3.0.0rc1"])
def test_a_newer_ray_is_taken(version: str) -> None:
    check_version(version)


@pytest.mark.usefixtures("bare")
def test_who_has_decided_for_a_token_of_his_own_or_against_all_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    with alone():
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ
        assert os.environ["RAY_AUTH_MODE"] == "token"
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with alone():
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ
        assert os.environ["RAY_AUTH_MODE"] == "disabled"
    monkeypatch.delenv("RAY_AUTH_MODE")


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("within", [alone, introduced])
def test_ray_heeds_the_environment_again_once_we_have_left(
    within: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("a" * 64)
    core: Any = ray._raylet
    with within():
        assert core.get_authentication_mode() == core.AuthenticationMode.TOKEN
    assert core.get_authentication_mode() == core.AuthenticationMode.DISABLED
