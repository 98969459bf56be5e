"""The passes over memory that a push is made of, over stretches that stay in a core's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from parameter_server.store import Array

CHUNK: Final = 2**18  # bytes; below it the calls cost more than the passes, far above it the passes leave the cache


def finite(values: Array) -> bool:
    """Whether every element is a number."""
    return bool(np.isfinite(values).all())
