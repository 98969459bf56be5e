"""Hosted: one shard in this process, from its recovery to its last snapshot."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import final

from parameter_server.files.recovery import recover
from parameter_server.files.snapshot import Snapshots
from parameter_server.policy import Policy
from parameter_server.processes import faults
from parameter_server.processes.folder import Folder
from parameter_server.processes.life import Life
from parameter_server.processes.place import Place
from parameter_server.processes.report import report
from parameter_server.shards.shard import Shard, ignore
from parameter_server.statistics import Statistics
from parameter_server.store import FencedError, StoreError


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
        probe = faults.probe(self.folder) or ignore
        statistics = Statistics(number, recovered_from=found.source, recoveries=self.life.now.killed)
        self.shard = Shard(
            number,
            place.layout.shards,
            found.memory,
            policy,
            clock=time.monotonic,
            statistics=statistics,
            recorder=found.log,
            probe=probe,
        )
        self._snapshots = Snapshots(self.folder, self.shard, log=found.log, probe=probe)
        self._written = (-1, -1)
        if found.older and found.log is not None:
            self.snapshot()  # for what a damaged log has after the damage is not to be read again
        statistics.recovery_seconds = time.perf_counter() - began

    def snapshot(self) -> str:
        """Write a snapshot now, and give its path; raises `StoreError`, and keeps the last, where there is no room."""
        if not self.life.goes_on():
            raise StoreError(f"{self.folder} was removed or replaced while shard {self.number} ran: nothing is written")
        moment = self._moment()
        try:
            path = self._snapshots.write()
        except OSError as error:
            raise StoreError(
                f"shard {self.number} has no new snapshot, and keeps the last one ({error}): make room on the disk of "
                f"{self.folder}"
            ) from error
        self._written = moment
        return str(path)

    def write_if_changed(self) -> None:
        """Write a snapshot unless the last one is up to date; a failure is counted and reported, and tried again."""
        if self._moment() != self._written:
            try:
                self.snapshot()
            except StoreError as error:
                report(f"shard {self.number}: {error}")

    def end(self) -> None:
        """Write the last snapshot; nobody may have the shard change any more."""
        self.write_if_changed()
        if self._written == self._moment():
            self.life.end(self._written[1])
        self.life.close()

    def epoch(self, epoch: int) -> int:
        """Take a driver's epoch, if it is higher than what is known; gives the highest."""
        with self.shard.lock:
            with suppress(FencedError):  # the supervisor learns of the higher one from what this gives
                self.shard.epoch(max(epoch, 0))
            return int(self.shard.memory.book.header["epoch"][0])

    def _moment(self) -> tuple[int, int]:
        """How many commits the memory has taken, and the version that they lead to."""
        with self.shard.lock:
            book = self.shard.memory.book
            return int(book.header["sequence"][0]), book.version
