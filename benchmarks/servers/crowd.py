"""Crowd: clients in threads of a few processes, each of which pulls and pushes whole updates over and over."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import final

import numpy as np

from parameter_server.clients.client import ShardedStore
from parameter_server.opened import connect
from parameter_server.store import PushId
from servers.contestant import answering, environment
from servers.ours import opened, over_network

PIECE = 10 * 1024  # bytes of the tensor that each shard has
PROCESSES = 4


@final
@dataclass(frozen=True)
class Result:
    """Updates that all shards acknowledged, calls that failed, and the seconds from the pull to the answer."""

    rate: float
    errors: int
    median: float
    slowest: float  # of a hundred


def crowd(shards: int, clients: int, seconds: float, network: bool) -> Result:
    """So many clients at once on a store of their own."""
    with opened(shards, network=network) as (store, folder):
        store.create({"tensor": np.zeros(shards * PIECE // 4, np.float32)})
        command = [sys.executable, "-m", "servers.crowd", str(folder), str(seconds), "network" if network else ""]
        sizes = [len(range(number, clients, PROCESSES)) for number in range(PROCESSES)]
        members = [
            subprocess.Popen(
                [*command, str(number), str(size)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(),
                text=True,
            )
            for number, size in enumerate(sizes)
        ]
        for member in members:
            assert member.stdout is not None
            assert member.stdout.readline() == "ready\n"
        for member in members:
            assert member.stdin is not None
            print("go", file=member.stdin, flush=True)
        answers = [json.loads(member.communicate()[0]) for member in members]
        version = store.pull().version
    durations = np.array([one for answer in answers for one in answer["durations"]])
    errors = sum(answer["errors"] for answer in answers)
    counted = sum(answer["counted"] for answer in answers)
    if not errors and version != (counted,) * shards:
        raise SystemExit(f"{counted} updates were acknowledged, but the shards have {sorted(set(version))}")
    rate = sum(answer["rate"] for answer in answers)
    return Result(rate, errors, float(np.median(durations)), float(np.quantile(durations, 0.99)))


@final
class Client(Thread):
    """One of the crowd; `durations` are those of its updates after the first, in seconds."""

    def __init__(self, store: ShardedStore, name: str) -> None:
        super().__init__(daemon=True)
        self.store = store
        self.client = name
        self.until = 0.0
        self.errors = self.counted = 0
        self.durations: list[float] = []
        self.gradient = np.ones(store.pull().tensors["tensor"].shape, np.float32)
        self.update()

    def update(self) -> None:
        room = np.empty_like(self.gradient)
        pulled = self.store.pull(["tensor"], into={"tensor": room})
        if self.store.push({"tensor": self.gradient}, pulled.version, PushId(self.client, self.counted)).counted:
            self.counted += 1
        else:
            self.errors += 1

    def run(self) -> None:
        while (began := time.perf_counter()) < self.until:
            try:
                self.update()
            except Exception as error:
                print(f"{self.client}: {type(error).__name__}: {error}", file=sys.stderr)
                self.errors += 1
            self.durations.append(time.perf_counter() - began)


def main() -> None:
    """One process of the crowd."""
    folder, seconds, network, number, size = sys.argv[1:]
    with answering() as answers, closing(over_network(Path(folder)) if network else connect(folder)) as store:
        clients = [Client(store, f"client-{number}-{place}") for place in range(int(size))]
        print("ready", file=answers, flush=True)
        sys.stdin.readline()
        began = time.perf_counter()
        for client in clients:
            client.until = began + float(seconds)
            client.start()
        for client in clients:
            client.join()
        counted = sum(client.counted for client in clients)
        found = {
            "rate": (counted - len(clients)) / (time.perf_counter() - began),
            "counted": counted,
            "errors": sum(client.errors for client in clients),
            "durations": [one for client in clients for one in client.durations],
        }
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
