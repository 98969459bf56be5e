"""How busy a driver keeps thousands of slots: trials that take a minute, in real time, with the journal on disk.

    python benchmarks/slots.py [--json] [--slots 10000] [--seconds 60] [--minutes 10] [--strategy evolution]
                               [--journal postgresql://...]

A slot is a timer: a trial takes `--seconds`, give or take `--spread` of them, drawn for each from a seed, and ends with
a loss that its candidate has. All else is a search as it is: the job, the driver, the rules around the strategy, every
commit in SQLite, or in `--journal`; 20 decisions (`empty_trial.py`). A slot is idle from when its trial ended until it
has the next one, whether the driver has noticed or not. `busy` is the share of the seconds of all slots in which a
trial ran, after the ramp-up: one longest trial after the last slot was first filled. `cpu` is the processor time of the
driver, in shares of a core, which other work on the machine changes little; `ask`, `tell` and `commit` are shares of
the time.
"""

from __future__ import annotations

import argparse
import heapq
import json
import platform
import resource
import sys
import tempfile
import time
from contextlib import closing
from datetime import date
from pathlib import Path
from random import Random
from typing import ClassVar, final

from nas.driver import drive, start
from nas.history import History
from nas.home import open_log
from nas.job import Job
from nas.log import Log
from nas.timing import Timing
from nas.watcher import Watched, Watcher
from search_spaces.decision import Range
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.pool import Event, Pool, Slots
from workers.setup import Setup
from workers.trial import Attempt, Result

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import empty_trial  # noqa: E402 - beside this file, as a user's module would be

if __name__ == "__main__":
    sys.modules["slots"] = sys.modules["__main__"]  # a job names the classes below by this file's name


@final
class Timers(Pool):
    """Slots that run nothing: each trial ends when its time has come."""

    last: ClassVar[Timers]  # the one that the driver made

    def __init__(self, setup: Setup, slots: int, seconds: float, spread: float = 0.5) -> None:
        self.slots, self.seconds, self.spread = slots, seconds, spread
        self.spans: list[tuple[float, float]] = []  # when trials began and ended or will have
        self.filled: float | None = None
        self._generator = Random(0)
        self._due: list[tuple[float, int, int]] = []
        self._candidates: dict[int, Candidate] = {}
        self._events: list[Event] = [Slots(slots)]
        Timers.last = self

    @property
    def free(self) -> int:
        return self.slots - len(self._due)

    @property
    def busy(self) -> int:
        return len(self._due)

    def submit(self, attempt: Attempt) -> None:
        began = time.monotonic()
        ends = began + self.seconds * self._generator.uniform(1 - self.spread, 1 + self.spread)
        heapq.heappush(self._due, (ends, attempt.trial.id, attempt.number))
        self._candidates[attempt.trial.id] = attempt.trial.candidate
        self.spans.append((began, ends))
        if self.filled is None and not self.free:
            self.filled = began

    def wait(self, timeout: float = 1.0) -> list[Event]:
        """Those whose time has come; the first of them is waited for, and none is waited for longer than needed."""
        events, self._events = self._events, []
        now = time.monotonic()
        if not events and self._due and self._due[0][0] > now:
            time.sleep(min(timeout, self._due[0][0] - now))
            now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, trial, number = heapq.heappop(self._due)
            metrics = {"loss": loss(self._candidates.pop(trial))}
            events.append(Result(trial, number, Outcome.COMPLETED, metrics, 1, self.seconds))
        return events

    def close(self) -> None:
        self._due.clear()

    def share(self, since: float, until: float) -> float:
        """The share of the seconds of all slots in that time in which a trial ran."""
        ran = sum(max(0.0, min(end, until) - max(began, since)) for began, end in self.spans)
        return ran / (self.slots * (until - since))


@final
class Witness(Watcher):
    """Keeps hold of what the driver measures of itself."""

    timing: ClassVar[Timing]

    def __init__(self, watched: Watched) -> None:
        Witness.timing = watched.timing

    def turn(self, history: History, pool: Pool) -> None:
        """Nothing is looked at."""


@final
class Clock:
    """An observer that takes the marks of the end of the ramp-up, and asks for a stop when the time is over."""

    def __init__(self, log: Log, longest: float, minutes: float) -> None:
        self.log, self.longest, self.end = log, longest, time.monotonic() + 60 * minutes
        self.search = ""
        self.turns = 0
        self.after: Mark | None = None
        self.over: Mark | None = None

    def turn(self, history: History, pool: Pool) -> None:
        self.turns += 1
        now = time.monotonic()
        filled = Timers.last.filled
        if self.after is None and filled is not None and now >= filled + self.longest:
            self.after = Mark(history, self.turns)
        if self.over is None and now >= self.end:
            self.over = Mark(history, self.turns)
            self.log.request(self.search, "stop", {"now": True})


@final
class Mark:
    """What has been used up, at one moment."""

    def __init__(self, history: History, turns: int) -> None:
        self.at, self.cpu, self.turns = time.monotonic(), time.process_time(), turns
        self.trials = history.outcomes.total()
        timing = Witness.timing
        self.spans = {"ask": timing.ask.total, "tell": timing.tell.total, "commit": timing.commit.total}
        self.bytes = resident()


def resident() -> int:
    """The bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def loss(candidate: Candidate) -> float:
    """Smooth, with a best place for every decision."""
    total = 0.0
    for place, (name, value) in enumerate(candidate.items()):
        decision = empty_trial.decisions[name]
        if isinstance(decision, Range):
            total += (decision.to_unit(float(value)) - 0.3) ** 2 * (1 + place % 3)
        else:
            total += 0.1 * (value != decision.options[place % 4])
    return total


def measured(options: argparse.Namespace) -> dict[str, object]:
    """One search, and what it used."""
    with tempfile.TemporaryDirectory() as home, closing(open_log(options.journal or home)) as log:
        clock = Clock(log, options.seconds * (1 + options.spread), options.minutes)
        clock.search = start(job(options, home), log)
        drive(clock.search, log, clock)
        history = History.of(log.entries(clock.search))
        bytes_on_disk = sum(path.stat().st_size for path in Path(home).glob("*/journal.sqlite*"))
    begin, over = clock.after, clock.over
    if begin is None or over is None or over.at <= begin.at:
        raise SystemExit("the run was over before the ramp-up was: give it more --minutes")
    seconds, done = over.at - begin.at, over.trials - begin.trials
    values = [record.result.metrics["loss"] for record in history.trials.values() if record.result is not None]
    tail = values[-max(1, len(values) // 10) :]
    assert len({record.trial.candidate for record in history.trials.values()}) == len(history.trials)
    return {
        "strategy": options.strategy,
        "slots": options.slots,
        "seconds": seconds,
        "busy": Timers.last.share(begin.at, over.at),
        "trials": len(values),
        "trials_per_second": done / seconds,
        "turns_per_second": (over.turns - begin.turns) / seconds,
        "cpu": (over.cpu - begin.cpu) / seconds,
        "cpu_ms_per_trial": 1e3 * (over.cpu - begin.cpu) / max(1, done),
        **{part: (over.spans[part] - begin.spans[part]) / seconds for part in ("ask", "tell", "commit")},
        "memory_mb": over.bytes / 1e6,
        "memory_bytes_per_trial": (over.bytes - begin.bytes) / max(1, done),
        "journal_bytes_per_trial": bytes_on_disk / max(1, len(history.trials)),
        "loss_of_first_tenth": sum(values[: len(tail)]) / len(tail),
        "loss_of_last_tenth": sum(tail) / len(tail),
        "best_loss": min(values),
    }


def job(options: argparse.Namespace, home: str) -> Job:
    """The job as a user would write it."""
    pool = {"name": "slots:Timers", "slots": options.slots, "seconds": options.seconds, "spread": options.spread}
    return Job.parse(
        {
            "name": "slots",
            "task": "empty_trial:train",
            "strategy": options.strategy,
            "objectives": [{"metric": "loss", "direction": "minimize"}],
            "budget": {"trials": 10_000_000},
            "baseline": 0,
            "pool": pool,
            "watch": ["slots:Witness"],
            "final": {"top": 0},
            "journal": {"place": options.journal or home},
            "folder": str(HERE),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--spread", type=float, default=0.5)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--strategy", default="evolution")
    parser.add_argument("--journal", help="where the journal is; a folder that is removed without it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measured(options)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{date.today()}; {platform.machine()}, Python {platform.python_version()}")
    for name, value in found.items():
        print(f"{name:24} {value:,.3f}" if isinstance(value, float) else f"{name:24} {value}")


if __name__ == "__main__":
    main()
