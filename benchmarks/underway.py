"""What it costs to keep the state of a training under way, on networks for the digits of scikit-learn.

    python benchmarks/underway.py [--trials 4] [--epochs 8]

The same trials twice: with the state kept after every epoch, and by the rule of `workers/underway.py`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import final
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent.parent))

from nas.job import Job
from nas.plan import Plan
from workers import underway
from workers.objectives import Outcome
from workers.task import State
from workers.trial import Attempt, Trial
from workers.workshop import Workshop

TASK = {"name": "image_classification", "dataset": "digits", "epochs": 8}
JOB = {"name": "underway", "task": TASK, "space": {"name": "pnas", "blocks": 3}, "budget": {"trials": 4}}
WAYS = {"after every epoch": (0.0, 0.0), "by the rule": (underway.PERIOD, underway.PATIENCE)}


@final
class Stopwatch:
    """The seconds that keeping took, and of which of them something came."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self.written: list[float] = []
        self._keep = underway.Underway.keep

    def method(self) -> Callable[[underway.Underway, State, float, bool], bool]:
        """What takes the place of `Underway.keep`."""

        def keep(kept: underway.Underway, state: State, seconds: float, now: bool = False) -> bool:
            started = time.perf_counter()
            done = self._keep(kept, state, seconds, now)
            self.spent.append(time.perf_counter() - started)
            if done:
                self.written.append(self.spent[-1])
            return done

        return keep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=8)
    asked = parser.parse_args()
    plan = Plan.of(Job.parse(JOB))
    trials = [
        Trial(number, plan.decisions.sample(Random(number)), asked.epochs, asked.epochs)
        for number in range(asked.trials)
    ]
    for way, (underway.PERIOD, underway.PATIENCE) in WAYS.items():
        watch = Stopwatch()
        with tempfile.TemporaryDirectory(prefix="cellwright-underway-") as place:
            workshop = Workshop(replace(plan.setup, artifacts=place))
            workshop.prepare()
            began = time.perf_counter()
            with patch.object(underway.Underway, "keep", watch.method()):
                for trial in trials:
                    assert workshop.run(Attempt(trial), lambda progress: None).outcome is Outcome.COMPLETED
            total = time.perf_counter() - began
        each = 1e3 * statistics.median(watch.written) if watch.written else 0.0
        print(
            f"{way}: {len(watch.written)} states of {asked.trials * asked.epochs} epochs, {each:.1f} ms each, "
            f"{100 * sum(watch.spent) / total:.2f} % of {total:.1f} s"
        )


if __name__ == "__main__":
    main()
