"""A process that serves shards in arenas for tests, and kills itself at the n-th time of a moment if it is told to.

`python machine_process.py FOLDER SHARDS MODE [MOMENT N]`: says "up" when it listens at FOLDER/socket; ends at SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from parameter_server.listeners.same_machine import SameMachineListener
from parameter_server.optimizers import SGD
from parameter_server.policy import Async, Group, Mode, Policy, Sync
from parameter_server.shards.shard import Shard
from parameter_server.shared_memory.arena import Arena

MODES: dict[str, Mode] = {"async": Async(), "sync": Sync(2)}
RATE = 0.5


def opened(path: Path) -> Arena:
    return Arena.open(path) if path.exists() else Arena.create(path)


def main() -> None:
    folder, shards, mode, *fatal = sys.argv[1:]
    left = int(fatal[1]) if fatal else 0

    def probe(moment: str) -> None:
        nonlocal left
        if fatal and moment == fatal[0]:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    policy = Policy((Group(SGD(RATE)),), MODES[mode], lease=60.0)
    served = []
    for number in range(int(shards)):
        memory = opened(Path(folder) / f"shard-{number}" / "arena")
        served.append(Shard(number, int(shards), memory, policy, clock=time.monotonic, probe=probe))
    listener = SameMachineListener(served, Path(folder) / "socket", lambda number: f"snapshot of {number}")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("up", flush=True)  # noqa: T201
    signal.sigwait([signal.SIGTERM])
    listener.close()
    for shard in served:
        shard.memory.close()


if __name__ == "__main__":
    main()
