"""Access: who may use a Ray cluster; ours is for this user of this machine alone."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants

from workers.errors import UserError

FLOOR = (2, 54)
MODE, TOKEN, PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
REACHABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray's name for: not on loopback only


def check_version(version: str = ray.__version__) -> None:
    """Raise `UserError` for a Ray that has no token authentication worth the name."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < FLOOR:
        floor = ".".join(map(str, FLOOR))
        raise UserError(f"Ray {version} is installed, but at least {floor} is needed: pip install --upgrade ray")


@contextmanager
def alone() -> Iterator[None]:
    """Within this, a cluster that is started listens on loopback only, and lets nobody in without a token.

    The token is a user's own if the environment names one; else it is made for this process, in a file that only this
    user can read, and never shown.
    """
    before = {name: os.environ.get(name) for name in (MODE, PATH, REACHABLE)}
    reachable = ray_constants.ENABLE_RAY_CLUSTER
    os.environ.setdefault(MODE, "token")
    if os.environ[MODE] == "token" and not {TOKEN, PATH} & set(os.environ):
        os.environ[PATH] = _made()
    os.environ[REACHABLE] = "0"  # for the processes that are started
    ray_constants.ENABLE_RAY_CLUSTER = False  # read from there when Ray was imported
    _heed()
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = reachable
        _restore(before)
        _heed()


@contextmanager
def introduced() -> Iterator[None]:
    """Within this, a cluster that is joined is shown a token, where there is one and the user has not decided."""
    before = {MODE: os.environ.get(MODE)}
    there = {TOKEN, PATH} & set(os.environ) or (Path.home() / ".ray" / "auth_token").is_file()
    if there:
        os.environ.setdefault(MODE, "token")
    _heed()
    try:
        yield
    finally:
        _restore(before)
        _heed()


def _heed() -> None:
    """Have Ray look at the environment again: it reads mode and token once in a process."""
    core: Any = ray._raylet
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@cache
def _made() -> str:
    folder = Path(tempfile.mkdtemp(prefix="cellwright-ray-"))  # for its owner only
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "token"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(secrets.token_hex(32))
    return str(path)
