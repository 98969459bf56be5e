"""Scenes: a search on machines of one kind, and what can be done to them there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, ClassVar, final

import chaos_trial
from clusters import Node, RayCluster
from postgres_server import PostgresServer

from disasters.victim import Victim
from workers.underway import UNDERWAY

TWICE = 2  # a trial whose worker dies a third time would be given up, as it should


class Scene(ABC):
    """A search under way; `kinds` are the injections by name, with how often each is to come."""

    kinds: ClassVar[Mapping[str, float]]

    def __init__(self, random: Random) -> None:
        self.random = random
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
        self.victim = self.begin()
        self.victim.drive()

    @abstractmethod
    def begin(self) -> Victim:
        """The search, created."""

    def end(self) -> None:
        """Remove what `begin` has started."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def ready(self) -> bool:
        """Whether something is in flight that may be hit once more."""
        flying = self.victim.in_flight()
        return bool(flying) and all(self.victim.hits[line.trial] < TWICE for line in flying)

    def inject(self, kind: str) -> float:
        """Do one thing to the search: the seconds until what was in flight is done, and more has begun."""
        self.victim.until(self.ready, f"before {kind}")
        flying = {line.trial for line in self.victim.in_flight()}
        began = time.monotonic()
        self.victim.may_end = False
        after: Callable[[], None] | None = getattr(self, kind.replace(" ", "_"))()
        self.victim.until(self.victim.goes_on_after(self.victim.starts(), flying), kind)
        seconds = time.monotonic() - began
        if after is not None:
            after()
        return seconds

    def worker(self) -> None:
        """Kill -9 of a worker in the middle of a trial."""
        line = self._strike(signal.SIGKILL)
        self.victim.hits[line.trial] += 1

    def frozen_worker(self) -> None:
        """A worker that stands still for a second."""
        line = self._strike(signal.SIGSTOP)
        time.sleep(1.0)
        _signal(line.pid, signal.SIGCONT)

    def driver(self) -> None:
        """Kill -9 of the driver, with which its workers end; another goes on."""
        assert self.victim.driver is not None
        self.victim.driver.kill()
        self.victim.driver.wait()
        self.victim.drive()

    def _strike(self, number: int) -> chaos_trial.Line:
        """Send a signal to a worker in the middle of a trial."""
        while True:
            self.victim.until(self.ready, "a trial in flight")
            line = self.random.choice(self.victim.in_flight() or [None])
            if line is not None and _signal(line.pid, number):
                return line


def _signal(pid: int, number: int) -> bool:
    """Whether there was such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _task(folder: Path, seconds: float, name: str = "chaos_trial:Ledgered") -> dict[str, Any]:
    return {"name": name, "ledger": str(folder / "ledger"), "seconds": seconds}


@final
class Server(Scene):
    """Processes of this machine, and a journal on PostgreSQL."""

    kinds: ClassVar = {"worker": 3, "frozen worker": 2, "driver": 1, "server restart": 2, "broken connections": 3}

    def begin(self) -> Victim:
        self.server = PostgresServer()
        job = {"task": _task(self.folder, 0.1), "strategy": "random", "pool": {"name": "local", "slots": 2}}
        place = self.server.database("chaos")
        return Victim(self.folder, place, {**job, "artifacts": str(self.folder / "artifacts")}, dict(os.environ))

    def server_restart(self) -> None:
        """All processes of the server end at once, and it recovers."""
        self.server.restart()

    def broken_connections(self) -> None:
        import psycopg

        with psycopg.connect(self.server.place(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'chaos'")

    def end(self) -> None:
        self.server.end()
        super().end()


@final
class Shards(Scene):
    """Processes of this machine, a journal on SQLite on a small disk, and a controller on two shards."""

    kinds: ClassVar = {"shard": 5, "worker": 2, "full disk": 2, "driver": 1}

    def begin(self) -> Victim:
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(self.disk)], check=True)
        strategy = {"name": "reinforce", "shards": 2, "batch": 10}
        task = _task(self.folder, 0.1, "chaos_trial:Chosen")
        job = {"task": task, "strategy": strategy, "pool": {"name": "local", "slots": 2}}
        return Victim(
            self.folder, str(self.disk), {**job, "artifacts": str(self.folder / "artifacts")}, dict(os.environ)
        )

    def shard(self) -> None:
        """Kill -9 of a process that holds a part of the controller's parameters."""
        while True:
            self.victim.until(lambda: bool(self._shards()), "shards")
            if _signal(self.random.choice(self._shards() or [2**22]), signal.SIGKILL):
                return

    def _shards(self) -> list[int]:
        log = self.folder / "artifacts" / "chaos" / "store" / "supervisor.log"
        told = re.findall(r"by process (\d+)", log.read_text()) if log.exists() else []
        return [pid for pid in map(int, told[-2:]) if chaos_trial.alive(pid)]

    def full_disk(self) -> None:
        """No byte is left for the journal; then there is room again, and a driver that has ended is followed."""
        ballast = self.disk / "ballast"
        with ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass
        time.sleep(1.0)
        ballast.unlink()
        self.victim.may_end = True

    def end(self) -> None:
        subprocess.run(["umount", "-l", str(self.disk)], check=False)
        super().end()


@final
class Checkpoints(Scene):
    """Trainings that keep their state after each epoch."""

    kinds: ClassVar = {"corrupted checkpoint": 3, "worker": 1, "driver": 1}

    def begin(self) -> Victim:
        task = _task(self.folder, 1.0, "chaos_trial:Kept")
        job = {"task": task, "strategy": "random", "pool": {"name": "local", "slots": 2}}
        place = str(self.folder / "journal")
        return Victim(self.folder, place, {**job, "artifacts": str(self.folder / "artifacts")}, dict(os.environ))

    def corrupted_checkpoint(self) -> None:
        """A worker dies, and of what it has kept of its training bytes are spoiled, or half is missing."""
        self.worker()
        for path in (self.folder / "artifacts").rglob(UNDERWAY):
            try:
                content = bytearray(path.read_bytes())
                if self.random.random() < 0.5:
                    content = content[: len(content) // 2]
                else:
                    for place in self.random.sample(range(len(content)), min(20, len(content))):
                        content[place] ^= 255
                path.write_bytes(content)
            except OSError:
                continue  # the training has ended meanwhile


@final
class Hosts(Scene):
    """Two hosts of a Ray cluster, each in a network of its own; the search has its slots of a broker."""

    kinds: ClassVar = {"worker": 3, "broker": 3, "raylet": 2, "partition": 1, "driver": 1}

    def begin(self) -> Victim:
        self.cluster = RayCluster(cpus=0, namespaces=True, environment={"PYTHONPATH": os.pathsep.join(sys.path[:4])})
        self.hosts = [self.cluster.add_node(1) for _ in range(2)]
        job = {"task": _task(self.folder, 0.5), "strategy": "random"}
        pool = {"name": "ray", "address": self.cluster.address, "cpus": 1}
        return Victim(
            self.folder,
            str(self.folder / "journal"),
            {**job, "pool": pool, "artifacts": str(self.folder / "artifacts")},
            self.cluster.whole_environment,
        )

    def broker(self) -> None:
        for node in self.cluster.nodes:
            for pid in node.processes:
                if _command(pid).startswith("ray::Broker"):
                    _signal(pid, signal.SIGKILL)

    def raylet(self) -> None:
        """A host dies with all that runs there; another takes its place."""
        node = self._one()
        self.hosts.remove(node)
        self.cluster.kill_node(node)
        self.hosts.append(self.cluster.add_node(1))

    def partition(self) -> Callable[[], None]:
        """A host whose worker goes on, and writes on, but hears nothing; another takes its place, then it is back."""
        node = self._one()
        self.cluster.partition(node)
        self.hosts.append(self.cluster.add_node(1))

        def heal() -> None:
            self.cluster.heal(node)
            self.hosts.remove(node)
            self.cluster.kill_node(node)

        return heal

    def _one(self) -> Node:
        node = self.random.choice(self.hosts)
        for line in self.victim.in_flight():
            if line.pid in node.processes:
                self.victim.hits[line.trial] += 1
        return node

    def end(self) -> None:
        self.cluster.stop()
        super().end()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


SCENES: dict[str, type[Scene]] = {"server": Server, "shards": Shards, "checkpoints": Checkpoints, "hosts": Hosts}
