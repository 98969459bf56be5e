"""What a shard process sees to by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LISTENS = """
import sys, time
from pathlib import Path
from threading import Event
from parameter_server.listeners.desk import Desk
from parameter_server.listeners.same_machine import SameMachineListener
from parameter_server.optimizers import SGD
from parameter_server.policy import Group, Policy
from parameter_server.processes.shard_process import end_with_any_thread
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard

def failing(_):
    raise MemoryError("there is none left")

Desk.settle = failing
end_with_any_thread()
shard = Shard(0, 1, HeapMemory(), Policy((Group(SGD(1.0)),)), clock=time.monotonic)
SameMachineListener([shard], Path(sys.argv[1]) / "socket", str)
Event().wait(60)
"""


def test_a_process_whose_listener_fails_ends_and_says_why(tmp_path: Path) -> None:
    """Otherwise it would be there, be replaced by nobody, and answer nobody."""
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", LISTENS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "MemoryError: there is none left" in ended.stderr
