"""What metrics cost a driver: microseconds of a turn that nobody asks in, milliseconds of one that somebody scrapes.

    python benchmarks/metrics.py [--json] [--turns 200000]

A history of 1,000, 10,000 and 100,000 trials, a tenth of which run. `turn` is the watcher's part of a turn; `look` what
the driver's thread reads for a scrape (`first`: all trials, once in a driver's life), `page` what the scraping thread
then writes, beside the driver.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import nas.metrics.readings as module
from nas.history import History
from nas.metrics.exposition import of_driver
from nas.plan import Plan
from nas.timing import Timing
from nas.watcher import Watched
from nas.watchers.metrics import MetricsWatcher
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.pools.simulated import Simulated
from workers.trial import Result, Trial

HERE: Final = Path(__file__).parent
SIZES: Final = (1_000, 10_000, 100_000)
REPEATS: Final = 20


def history(trials: int, metric: str) -> History:
    """So many trials, nine of ten over."""
    made = History()
    for number in range(trials):
        made.asked(Trial(number, Candidate({"x": number})), 1e9 + number)
        made.issued(number, 1, 1e9 + number)
        if number % 10:
            made.told(Result(number, 1, Outcome.COMPLETED, {metric: 1.0 / (1 + number)}), 2e9 + number)
    return made


def seconds(call: Callable[[], object]) -> float:
    """The time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measured(trials: int, turns: int, home: Path) -> dict[str, float]:
    """The costs with so many trials in the journal."""
    job = {"task": "empty_trial:train", "strategy": "random", "budget": {"trials": trials}, "folder": str(HERE)}
    plan = Plan.of({**job, "final": {"top": 0}})
    strategy = plan.strategy()
    pool = Simulated(plan.setup, slots=4, answer=lambda attempt: Result(attempt.trial.id, 1, Outcome.LOST))
    watched = Watched("search", plan.job.json(), plan.objectives, home / "search", home, strategy, Timing())
    watcher, past = MetricsWatcher(watched), history(trials, plan.objectives[0].metric)
    readings = watcher._readings

    def many() -> None:
        for _ in range(turns):
            watcher.turn(past, pool)

    try:
        first = seconds(lambda: readings.look(past, pool, "running"))
        turn = min(seconds(many) for _ in range(3)) / turns
        look = statistics.median(seconds(lambda: readings.look(past, pool, "running")) for _ in range(REPEATS))
        page = statistics.median(seconds(lambda: of_driver(readings)) for _ in range(REPEATS))
    finally:
        watcher.close()
        pool.close()
    return {
        "trials": trials,
        "turn_microseconds": turn * 1e6,
        "first_look_milliseconds": first * 1e3,
        "look_milliseconds": look * 1e3,
        "page_milliseconds": page * 1e3,
    }


def main() -> None:
    """Print a line for each size, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--turns", type=int, default=200_000)
    arguments = parser.parse_args()
    vars(module)["PATIENCE"] = 0.0  # nobody turns here while a page is written
    with tempfile.TemporaryDirectory() as home:
        found = [measured(trials, arguments.turns, Path(home)) for trials in SIZES]
    if arguments.json:
        print(json.dumps(found))
        return
    print(" ".join(f"{name:>24}" for name in found[0]))
    for one in found:
        print(" ".join(f"{value:24.3f}" for value in one.values()))


if __name__ == "__main__":
    main()
