"""Place: what one shard process is told to host; seat: who hosts it now; and when the next one may begin."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, final

from parameter_server.processes.channel import Channel
from parameter_server.processes.folder import Layout

LEASES: Final = 3  # the driver's lease, in leases of clients: who takes over has this long
FREE: Final = 2  # failures in a row that cost no wait
LONGEST_PAUSE: Final = 10.0
ENVIRONMENT: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    # Memory that is freed and asked for again would be zeroed by the kernel each time: copying 64 MB then runs at
    # 1.0 GB/s, and at 11.3 GB/s with these (measured, two busy cores).
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}


@final
@dataclass(frozen=True, slots=True)
class Place:
    """What a shard process is told: which shards of which store it hosts; without a supervisor it ends after `grace`.

    `grace` and the `interval` of snapshots are in seconds. `address` is where it listened for other machines before.
    """

    folder: Path
    sockets: Path
    layout: Layout
    process: int
    grace: float
    interval: float = 60.0
    address: str = ""

    @property
    def shards(self) -> tuple[int, ...]:
        return self.layout.hosted(self.process)


@final
@dataclass(slots=True)
class Seat:
    """Who hosts a place: `child` is a process of this supervisor, `channel` is open while somebody serves.

    `adopted` is the process that serves if it is a child of an earlier supervisor.
    """

    place: Place
    child: int | None = None
    channel: Channel | None = None
    adopted: int | None = None
    network: dict[str, str] = field(default_factory=dict)
    epoch: int = -1  # that it knows
    told: int = -1  # that it was told of
    served: bool = False
    failures: int = 0  # in a row
    not_before: float = 0.0
    died: float = 0.0
    trouble: str = ""

    @property
    def empty(self) -> bool:
        """Whether nobody that this supervisor knows of is there."""
        return self.child is None and self.channel is None

    @property
    def process(self) -> int | None:
        return self.adopted if self.child is None else self.child

    def next(self) -> Place:
        """What the next process is told: to listen where the last one did, unless it failed there."""
        address = "" if self.failures else next(iter(self.network.values()), "")
        return replace(self.place, address=address)

    def given(self, child: int) -> None:
        """A process has been started."""
        self.child, self.served, self.epoch, self.trouble = child, False, -1, ""

    def lost(self, status: int, now: float) -> float:
        """The process has ended; gives the seconds to wait before the next."""
        self.child, self.died = None, now
        self.failures = self.failures + 1 if at_fault(status, self.served) else 0
        wait = pause(self.failures)
        self.not_before = now + wait
        return wait


def pause(failures: int) -> float:
    """Seconds to wait before a process is started that failed so often in a row."""
    return 0.0 if failures <= FREE else min(0.1 * 2.0 ** (failures - FREE - 1), LONGEST_PAUSE)


def at_fault(status: int, served: bool) -> bool:
    """Whether an end counts as a failure: one before it served, or by its own doing; a kill from outside is none."""
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return not served or not (killed or status == 0)
