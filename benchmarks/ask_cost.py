"""What one ask of a strategy costs, models fitted, after so many trials were told.

    python benchmarks/ask_cost.py [--strategy surrogate] [--told 10,100,1000] [--asks 100] [--threads 1]

The table is mixed: categories, ordered choices, numbers, conditions; one trial in twenty is infeasible, seven others
run. Every ask follows a result, so that nothing can be remembered.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from random import Random
from statistics import median

from nas.jobfile.plugins import find
from nas.strategy import Setting, Strategy
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Candidate, Decisions
from workers.objectives import Direction, Objective, Outcome
from workers.plugins import Spec
from workers.trial import Result, Trial

DECISIONS = Decisions(
    {
        **{f"operation_{i}": Choice(("none", "skip", "conv_1x1", "conv_3x3", "pool")) for i in range(6)},
        "optimizer": Choice(("sgd", "adam")),
        "rate": Range(1e-5, 1.0, log=True),
        "momentum": Range(0.0, 0.99, when=When.equals("optimizer", "sgd")),
        "batch": Choice((16, 32, 64, 128, 256), ordered=True),
        "layers": Range(1, 24, integer=True),
        "dropout": Range(0.0, 0.5),
    }
)
RUNNING = 7


def answer(trial: Trial) -> Result:
    """The loss of a trial, cheap and rugged enough."""
    if Random(trial.id).random() < 0.05:
        return Result(trial.id, 1, Outcome.INFEASIBLE)
    return Result(trial.id, 1, Outcome.COMPLETED, {"loss": _loss(trial.candidate)})


def _loss(candidate: Candidate) -> float:
    place = DECISIONS.encode(candidate)
    noise = Random(repr(place)).gauss(0.0, 0.05)
    return sum((value - 0.3) ** 2 * (1.0 + i % 3) for i, value in enumerate(place)) + noise


def asked(strategy: Strategy, told: int, asks: int) -> list[float]:
    """Seconds of each of the last asks."""
    running: deque[Trial] = deque()
    seconds = []
    for number in range(told + asks + RUNNING):
        timed = number >= told + RUNNING
        begun = time.perf_counter()
        if timed:
            trial = strategy.ask()
            seconds.append(time.perf_counter() - begun)
        else:
            trial = Trial(number, DECISIONS.sample(Random(number)))
            strategy.hear(trial)
        assert trial is not None
        running.append(trial)
        if len(running) > RUNNING:
            strategy.tell(answer(running.popleft()))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", default="surrogate")
    parser.add_argument("--told", default="10,30,100,300,1000")
    parser.add_argument("--asks", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(given.threads)  # numpy is not loaded yet
    setting = Setting(DECISIONS, (Objective("loss", Direction.MINIMIZE),))
    print("  told   median      99 %   slowest")
    for told in map(int, given.told.split(",")):
        strategy: Strategy = find("strategy", Spec(given.strategy))(setting)
        times = sorted(asked(strategy, told, given.asks))
        rows = (median(times), times[int(0.99 * (len(times) - 1))], times[-1])
        print(f"{told:6,} " + " ".join(f"{1e3 * seconds:6.1f} ms" for seconds in rows), flush=True)


if __name__ == "__main__":
    main()
