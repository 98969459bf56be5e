"""Release: which code a process runs, so that two that work together can tell whether it is the same."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("nas", "workers", "search_spaces", "parameter_server")


@cache
def release() -> str:
    """The release of this process."""
    return release_of(folders())


def release_of(packages: Sequence[Path]) -> str:
    """What must be equal: a digest of our own source, and the versions of Python, Ray and torch, as people read them.

    Ray must be the same to the last digit, as Ray itself demands; of Python and torch the first two numbers count.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"source {digest(packages)}, python {python}, ray {_version('ray')}, torch {_version('torch', parts=2)}"


def folders() -> tuple[Path, ...]:
    """Where our packages are imported from: each may be in a place of its own."""
    return tuple(_folder(name) for name in PACKAGES)


def digest(packages: Sequence[Path]) -> str:
    """Twelve hexadecimal digits that stand for every line of Python in these folders."""
    seen = hashlib.sha256()
    for folder in packages:
        for path in sorted(folder.rglob("*.py")):
            content = path.read_bytes()
            seen.update(f"{folder.name}/{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
            seen.update(content)
    return seen.hexdigest()[:12]


def _folder(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def _version(name: str, parts: int | None = None) -> str:
    """The version without what was built locally (`2.13.0+cpu`); `none` where it is not installed."""
    try:
        found = version(name).partition("+")[0]
    except PackageNotFoundError:
        return "none"
    return ".".join(found.split(".")[:parts])
