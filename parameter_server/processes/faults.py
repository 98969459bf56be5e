"""Faults: where tests have a shard process die; a store for whose processes nobody asked for them knows none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

ASKED: Final = "CELLWRIGHT_STORE_FAULTS"  # an environment variable; anything in it asks for faults


def probe(folder: Path) -> Callable[[str], None] | None:
    """What kills this process at a moment when the shard's folder has a file that is called so: "die inside apply".

    The file is removed first, so that one file is one death. None where faults were not asked for.
    """
    if not os.environ.get(ASKED):
        return None

    def die(moment: str) -> None:
        try:
            (folder / f"die {moment}").unlink()
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    return die
