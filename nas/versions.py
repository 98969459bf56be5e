"""The versions that a search ran with: of this package, Python, and what trains."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

RECORDED = ("cellwright", "torch", "torchvision", "ray", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Name to version, of what is installed; imports nothing."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
