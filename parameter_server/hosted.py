"""Hosted: one shard in this process, from its recovery to its last snapshot."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from threading import Lock
from typing import final

from parameter_server import faults
from parameter_server.folder import Folder
from parameter_server.life import Life
from parameter_server.place import Place
from parameter_server.policy import Policy
from parameter_server.recovery import recover
from parameter_server.shard import Shard, ignore
from parameter_server.statistics import Statistics
from parameter_server.store import FencedError


@final
class Hosted:
    """A shard, locked for this process; raises `StoreError` where another process has it, or its disk is full."""

    def __init__(self, place: Place, number: int, policy: Policy) -> None:
        began = time.perf_counter()
        folder = Folder(place.folder)
        self.number, self.folder = number, folder.shard(number)
        self.life = Life(folder.life(number))
        try:
            found = recover(self.folder, policy, place.layout.durability, self.life)
        except BaseException:
            self.life.close()
            raise
        for damage in found.damages:
            report(f"shard {number}: {damage}")
        self._probe = faults.probe(self.folder) or ignore
        statistics = Statistics(number, recovered_from=found.source, recoveries=self.life.now.killed)
        statistics.recovery_seconds = time.perf_counter() - began
        self._writing = Lock()
        self._written = -1  # version of the last snapshot
        self.shard = Shard(
            number,
            place.layout.shards,
            found.memory,
            policy,
            clock=time.monotonic,
            statistics=statistics,
            recorder=found.log,
            probe=self._probe,
        )

    def snapshot(self) -> str:
        return ""

    def write_if_changed(self) -> None:
        pass

    def end(self) -> None:
        """Write the last snapshot; nobody may have the shard change after this."""
        with self.shard.lock:
            version = self.shard.memory.book.version
        self.life.end(version)
        self.life.close()

    def epoch(self, epoch: int) -> int:
        """Take a driver's epoch, if it is higher than what is known; gives the highest."""
        with self.shard.lock:
            with suppress(FencedError):  # the supervisor learns of the higher one from what this gives
                self.shard.epoch(max(epoch, 0))
            return int(self.shard.memory.book.header["epoch"][0])


def report(text: str) -> None:
    """To the report of the supervisor, or wherever the standard error of this process goes."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
    sys.stderr.flush()
