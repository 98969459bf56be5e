"""The process of a store's supervisor: `python -m parameter_server.processes.supervisor_process FOLDER`."""

from __future__ import annotations

import argparse
import gc
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from parameter_server.processes.folder import Folder, patiently_locked
from parameter_server.processes.place import ENVIRONMENT, LEASES
from parameter_server.processes.supervisor import Supervisor
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from parameter_server.processes.supervisor import Body

MODULE: Final = "parameter_server.processes.supervisor_process"
GRASP: Final = 0.2  # seconds to wait for somebody who only looks whether the folder is locked


def oversee(path: Path, body: Body, asked: Callable[[], bool] = lambda: True) -> int:
    """Supervise the store in a folder until it is over; ends at once where another process does, or nobody asks."""
    folder = Folder(path)
    layout = folder.read_layout()
    if layout is None:
        raise StoreError(f"there is no store in {path}: open_store founds one")
    lock = patiently_locked(folder.lock, GRASP)
    if lock is None or not asked():
        return 0
    gc.freeze()  # what was imported is never collected, so that forks go on sharing its memory
    supervisor = Supervisor(folder, layout, LEASES * float(layout.policy["lease"]), body, lock)
    try:
        supervisor.run()
    finally:
        supervisor.close()
    return 0


def main() -> int:
    """Supervise the store in a folder; leaves whoever started it, unless told `--foreground`."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--foreground", action="store_true", help="stay a child of who starts it")
    parser.add_argument("--asked", action="store_true", help="end when standard input is at its end before the start")
    arguments = parser.parse_args()
    if not arguments.foreground:
        if os.fork():
            os._exit(0)
        os.setsid()
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        again = [sys.executable, "-P", "-m", MODULE, str(arguments.folder), "--foreground"]
        os.execve(sys.executable, again + ["--asked"] * arguments.asked, {**os.environ, **ENVIRONMENT})
    from parameter_server.processes.shard_process import prepare, serve

    try:
        prepare(Folder(arguments.folder))
        return oversee(arguments.folder, serve, _open_input if arguments.asked else lambda: True)
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _open_input() -> bool:
    """Whether who holds the other end of standard input still does; it never writes."""
    return not select.select([0], [], [], 0)[0]


if __name__ == "__main__":
    sys.exit(main())
