"""How busy a hundred actors of Ray are kept on one machine, by a whole search over trials that sleep.

    python benchmarks/actors.py [--json] [--slots 100] [--minutes 2]

A cluster of this machine, one actor per slot with a hundredth of a core each, random search, the journal on disk.
Trials sleep for 1 to 2 s (`sleeping_trial.py`) and say when they began and ended. `busy` is the share of the seconds of
all slots in which a trial slept, after the ramp-up: from when every actor was up, and one longest trial more, to when
the time is over. `ramp_up` is the seconds from the start of the driver to that of the last actor; `own` what an actor
holds for itself, in MB, and `fair` with its part of what it shares with others (median over actors).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import final

from nas.driver import drive, start
from nas.history import History
from nas.home import open_log
from nas.job import Job
from nas.log import Log
from workers.pool import Pool

HERE = Path(__file__).parent
LONGEST = 2.0  # seconds of a trial


@final
class Clock:
    """An observer: when all slots were there; it asks for a stop when the time after that is over."""

    def __init__(self, log: Log, search: str, slots: int, seconds: float) -> None:
        self.log, self.search, self.slots, self.seconds = log, search, slots, seconds
        self.began = time.monotonic()
        self.up: float | None = None
        self.over = False

    def turn(self, history: History, pool: Pool) -> None:
        now = time.monotonic()
        if self.up is None and pool.free + pool.busy >= self.slots:
            self.up = now
        if self.up is not None and not self.over and now > self.up + LONGEST + self.seconds:
            self.over = True
            self.log.request(self.search, "stop", {"now": True})


@final
@dataclass(frozen=True)
class Measured:
    """What was found; `rate` is in trials per second."""

    slots: int
    busy: float
    rate: float
    ramp_up: float
    own: float
    fair: float
    torch: int


def job(slots: int, home: str) -> Job:
    """A job as a user would write it."""
    return Job.parse(
        {
            "name": "actors",
            "task": "sleeping_trial:train",
            "strategy": "random",
            "budget": {"trials": 10_000_000},
            "pool": {"name": "ray", "slots": slots, "cpus": 0.01},
            "final": {"top": 0},
            "journal": {"place": home},
            "folder": str(HERE),
        }
    )


def measure(slots: int, minutes: float) -> Measured:
    """Run a search for so long after its ramp-up."""
    with tempfile.TemporaryDirectory() as home, closing(open_log(home)) as log:
        search = start(job(slots, home), log)
        clock = Clock(log, search, slots, 60 * minutes)
        drive(search, log, clock)
        history = History.of(log.entries(search))
    assert clock.up is not None
    said = [record.result.metrics for record in history.trials.values() if record.result and record.completed]
    since = clock.up + LONGEST
    return summary(said, slots, since, since + 60 * minutes, clock.up - clock.began)


def summary(said: Sequence[Mapping[str, float]], slots: int, since: float, until: float, ramp_up: float) -> Measured:
    """What trials said, in figures."""
    slept = sum(max(0.0, min(one["ended"], until) - max(one["began"], since)) for one in said)
    ended = sum(since <= one["ended"] < until for one in said)
    last = {one["pid"]: one for one in said}.values()
    own, fair = (statistics.median(one[name] for one in last) * 1024 / 1e6 for name in ("own", "fair"))
    torch = sum(one["torch"] > 0 for one in last)
    return Measured(slots, slept / (slots * (until - since)), ended / (until - since), ramp_up, own, fair, torch)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=2.0, help="to measure for, after the ramp-up")
    arguments = parser.parse_args()
    if arguments.slots < 1 or arguments.minutes <= 0:
        parser.error("slots and minutes must be above 0")
    found = measure(arguments.slots, arguments.minutes)
    if arguments.json:
        sys.stdout.write(json.dumps(vars(found)) + "\n")
        return
    sys.stdout.write(
        f"{platform.machine()}, {os.cpu_count()} cores, {found.slots} actors, load {os.getloadavg()[0]:.1f}\n"
        f"busy {found.busy:.1%}, {found.rate:.1f} trials/s, up after {found.ramp_up:.1f} s\n"
        f"an actor holds {found.own:.0f} MB, {found.fair:.0f} MB with its part of what is shared; "
        f"{found.torch} of them imported torch\n"
    )


if __name__ == "__main__":
    main()
