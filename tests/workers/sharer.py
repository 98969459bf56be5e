"""A search in a process of its own that uses every slot it gets: `python sharer.py NAME LEDGER SECONDS [WEIGHT QUOTA]`.

It appends to LEDGER how many attempts it runs, each time that changes and each second, until its input ends.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, final

from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Signature
from workers.objectives import Direction, Objective
from workers.plugins import Spec
from workers.pool import Progress
from workers.setup import Setup
from workers.task import Epoch, State, Task
from workers.trial import Attempt, Result, Trial


@final
@dataclass(frozen=True)
class Sleeping(Task):
    """Takes as many seconds as its candidate says."""

    decisions = Decisions()
    signature = Signature("none")
    objectives = (Objective("score", Direction.MAXIMIZE),)
    epochs = 1

    def train(self, model: Any, trial: Trial, state: State | None) -> Iterator[Epoch]:
        time.sleep(float(trial.candidate["seconds"]))
        yield Epoch({"score": 1.0})


@final
@dataclass(frozen=True)
class Sample:
    """How many slots a search used at a moment."""

    when: float
    busy: int


def samples(ledger: Path) -> list[Sample]:
    """What is in a ledger so far."""
    if not ledger.exists():
        return []
    whole, _, _ = ledger.read_text().rpartition("\n")
    return [Sample(*json.loads(line)) for line in whole.splitlines()]


def used(ledger: Path, begin: float, end: float) -> float:
    """Slot seconds between two times."""
    total, known = 0.0, samples(ledger)
    for one, after in zip(known, [*known[1:], Sample(end, 0)], strict=True):
        total += one.busy * max(0.0, min(after.when, end) - max(one.when, begin))
    return total


def _wait_for_the_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> None:
    from workers.pools.ray import Ray

    name, ledger, longest = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    weight = float(sys.argv[4]) if len(sys.argv) > 4 else 1.0
    quota = int(sys.argv[5]) if len(sys.argv) > 5 else None
    cpus = float(sys.argv[6]) if len(sys.argv) > 6 else 1.0
    ended = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(ended,), daemon=True).start()
    random, numbers, said = Random(name), count(), (0.0, -1)
    setup = Setup(search=name, task=Spec("sharer:Sleeping"), folder=str(Path(__file__).parent))
    with closing(Ray(setup, cpus=cpus, weight=weight, quota=quota)) as pool, ledger.open("a", buffering=1) as out:
        while not ended.is_set():
            while pool.free:
                seconds = random.uniform(longest / 10, longest)
                trial = Trial(next(numbers), Candidate({"seconds": seconds}), epochs=1)
                pool.submit(Attempt(trial, 1))
            now = time.time()
            if pool.busy != said[1] or now > said[0] + 1:
                said = (now, pool.busy)
                out.write(json.dumps(said) + "\n")
            for event in pool.wait(0.2):
                if isinstance(event, Result) and event.error and not event.outcome.charged:
                    continue
                if isinstance(event, Result) and event.error:
                    raise SystemExit(event.error)
                assert not isinstance(event, Progress) or event.epoch
        out.write(json.dumps((time.time(), 0)) + "\n")


if __name__ == "__main__":
    main()
