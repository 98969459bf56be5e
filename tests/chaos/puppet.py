"""A worker of a store in a process of its own that does what it is told, and says how that ended and how long it took.

`python puppet.py NAME ATTEMPT PATIENCE FOLDER`, or for a worker of another machine, which has no folder,
`python puppet.py NAME ATTEMPT PATIENCE ADDRESS AUTHORITY TOKEN`, the address as JSON, and the authority "-" for none.
It reads commands from its input, one a line: `pull`, or `push NUMBER`, which pushes ones from the version it knows.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from parameter_server.opened import connect
from parameter_server.processes.folder import Address
from parameter_server.security import Security
from parameter_server.store import PushId, StoreError

if TYPE_CHECKING:
    from parameter_server.clients.client import ShardedStore
    from parameter_server.store import Array

HERE = Path(__file__).parent
WAIT = 100.0  # seconds for what must come; a busy machine is no failure


@final
@dataclass(frozen=True)
class Said:
    """How a command ended: its outcomes, or the error; after how many seconds; and the version that is known now."""

    outcomes: tuple[str, ...]
    error: str
    text: str
    seconds: float
    version: tuple[int, ...]

    @property
    def counted(self) -> bool:
        return bool(self.outcomes) and all(outcome in ("applied", "duplicate") for outcome in self.outcomes)


@final
class Puppet:
    """Such a process, from the side of who tells it what to do; `within` is what runs it elsewhere."""

    def __init__(self, name: str, attempt: int, patience: float, *where: object, within: Sequence[str] = ()) -> None:
        self.name = name
        command = [
            *within,
            sys.executable,
            str(HERE / "puppet.py"),
            name,
            str(attempt),
            str(patience),
            *map(str, where),
        ]
        path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        self._said: queue.Queue[Said] = queue.Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        self.first = self.hear()  # it pulls as it begins

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def hear(self) -> Said:
        return self._said.get(timeout=WAIT)

    def silent(self, seconds: float) -> bool:
        """Whether nothing is heard for so long."""
        limit = time.monotonic() + seconds
        while self._said.empty() and time.monotonic() < limit:
            time.sleep(0.01)
        return self._said.empty()

    def ask(self, command: str) -> Said:
        self.tell(command)
        return self.hear()

    def end(self) -> None:
        """Kill it, wherever it stands."""
        self.process.kill()
        self.process.wait()
        self._reading.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                told = json.loads(line)
                told["outcomes"], told["version"] = tuple(told["outcomes"]), tuple(told["version"])
                self._said.put(Said(**told))


@final
class Worker:
    """What there is of it in its process."""

    def __init__(self, store: ShardedStore, name: str, attempt: int) -> None:
        self.store, self.name, self.attempt = store, name, attempt
        self.version: tuple[int, ...] = ()
        self.ones: dict[str, Array] = {}

    def obey(self, command: str) -> dict[str, Any]:
        began = time.monotonic()
        said: dict[str, Any] = {"outcomes": [], "error": "", "text": ""}
        what, _, number = command.partition(" ")
        try:
            if what == "pull":
                self.pull()
            else:
                said["outcomes"] = self.push(int(number))
        except StoreError as error:
            said |= {"error": type(error).__name__, "text": str(error)}
        return {**said, "version": self.version, "seconds": time.monotonic() - began}

    def pull(self) -> None:
        pulled = self.store.pull()
        self.version = pulled.version
        self.ones = {tensor: np.ones(array.shape, np.float32) for tensor, array in pulled.tensors.items()}

    def push(self, number: int) -> list[str]:
        pushed = self.store.push(self.ones, self.version, PushId(self.name, number, self.attempt))
        self.version = pushed.version
        return [str(one) for one in pushed.outcomes]


def main() -> None:
    name, attempt, patience, where = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    if len(sys.argv) > 5:
        security = Security(authority=None if sys.argv[5] == "-" else Path(sys.argv[5]), token=sys.argv[6])
        store = connect(Address.from_json(json.loads(where)), security=security, patience=patience)
    else:
        store = connect(where, patience=patience)
    worker = Worker(store, name, attempt)
    for line in chain(["pull"], sys.stdin):
        sys.stdout.write(json.dumps(worker.obey(line.strip())) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
