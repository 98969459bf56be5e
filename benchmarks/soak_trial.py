"""A short trial for a soak: it takes some memory, writes a file, and pushes to the store where there is one."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.decision import Range

if TYPE_CHECKING:
    from parameter_server.store import Store

STORE = "NAS_SOAK_STORE"
_numbers = itertools.count()
_stores: dict[str, Store] = {}


def train(values: dict[str, Any]) -> float:
    """Nothing is learnt."""
    held = b"x" * (1 << 20)
    with tempfile.TemporaryFile() as file:
        file.write(held)
    if folder := os.environ.get(STORE):
        _step(folder)
    return float(values["x"])


def _step(folder: str) -> None:
    import numpy as np

    from parameter_server.opened import connect
    from parameter_server.store import PushId

    store = _stores.get(folder)
    if store is None:
        store = _stores[folder] = connect(Path(folder))
    version = store.pull().version
    gradients = {name: np.ones(1000, np.float32) for name in ("a", "b")}
    store.push(gradients, version, PushId(f"soak-{os.getpid()}", next(_numbers)))


train.decisions = {"x": Range(0, 1)}  # type: ignore[attr-defined]
