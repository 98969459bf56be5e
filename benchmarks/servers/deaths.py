"""Deaths: `kill -9` of the process of a shard, time and again, under load and with every core busy.

A client's push number n is -1 at place n of two tensors, one on each shard, and 0 elsewhere: with SGD of rate 1 the
tensors say afterwards how often every single push was applied on each shard.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import final

import numpy as np

from parameter_server.clients.client import ShardedStore
from parameter_server.opened import running
from parameter_server.store import PushId
from servers.contestant import Array
from servers.ours import opened

SHARDS = 2
PUSHES = 2**16  # places of a tensor
CLIENTS = 4
PAUSE = (0.2, 0.6)  # seconds from being back in service to the next kill


@final
@dataclass(frozen=True)
class Deaths:
    """Seconds from each kill to the answer to a push that was sent after it; what became of all pushes."""

    seconds: list[float]
    acknowledged: int
    lost: int
    twice: int
    slowest: float  # of the clients' pushes, in seconds


def deaths(kills: int) -> Deaths:
    """So many kills, of the shards' processes in turns."""
    with opened(SHARDS, rate=1.0) as (store, folder), busy():
        clients = [Client(store, f"client-{number}") for number in range(CLIENTS)]
        probe = Client(store, "probe")
        for client in clients:
            client.start()
        try:
            seconds = [_killed(folder, turn % SHARDS, probe) for turn in range(kills)]
        finally:
            for client in clients:
                client.ended.set()
            for client in clients:
                client.join()
        everyone = [*clients, probe]
        applied = [client.applied() for client in everyone]
    known = [counts[:, : client.number] for counts, client in zip(applied, everyone, strict=True)]
    return Deaths(
        seconds,
        sum(client.number for client in everyone),
        sum(int((counts == 0).any(axis=0).sum()) for counts in known),
        sum(int((counts > 1).any(axis=0).sum()) for counts in applied),
        max(client.slowest for client in clients),
    )


@final
class Client(Thread):
    """Pushes for as long as it may; `number` pushes were acknowledged."""

    def __init__(self, store: ShardedStore, name: str) -> None:
        super().__init__(daemon=True)
        self.store = store
        self.client = name
        self.ended = Event()
        self.number = 0
        self.slowest = 0.0
        self.gradients = {f"{name}/{part}": np.zeros(PUSHES, np.float32) for part in range(SHARDS)}
        store.create(self.gradients)
        self.base = store.pull(list(self.gradients)).version

    def push(self) -> None:
        """One push, until it is acknowledged."""
        for gradient in self.gradients.values():
            gradient[self.number] = -1.0
        began = time.perf_counter()
        pushed = self.store.push(self.gradients, self.base, PushId(self.client, self.number))
        self.slowest = max(self.slowest, time.perf_counter() - began)
        assert pushed.counted
        for gradient in self.gradients.values():
            gradient[self.number] = 0.0
        self.number += 1

    def applied(self) -> Array:
        """How often each push was applied, (shards, pushes)."""
        tensors = self.store.pull(list(self.gradients)).tensors
        return np.stack([tensors[name] for name in self.gradients])

    def run(self) -> None:
        while not self.ended.is_set() and self.number < PUSHES:
            self.push()


@contextmanager
def busy() -> Iterator[None]:
    """One process per core that does nothing, as fast as it can."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def _killed(folder: Path, process: int, probe: Client) -> float:
    """Kill, and push until that is answered."""
    time.sleep(random.Random(probe.number).uniform(*PAUSE))
    while (found := running(folder)) is None or (number := found.processes[process]) is None:
        time.sleep(0.01)
    began = time.perf_counter()
    os.kill(number, signal.SIGKILL)
    while _lives(number):
        pass
    probe.push()
    return time.perf_counter() - began


def _lives(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
