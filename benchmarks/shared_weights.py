"""When sharing weights pays: what is picked for equal seconds of training, with shared weights and without.

    python benchmarks/shared_weights.py [--runs 6] [--processes 2] [--pool 48] [--epochs 6] [--json]

Cells of the NASNet space on scikit-learn's digits. `--pool` candidates are drawn; every one is trained from scratch
three times, which says how good it is alone. Then three ways to pick one of them for equal seconds: train as many as
there is time for; train each for its first epoch only, as halving would; or train shared weights by random children,
and score all candidates with these (the time of the scores counts). Reported is how good the pick is alone, by
trainings that did not choose it, as the share of the way from the pool's mean (0) to its best (1), and Spearman's rank
correlation of the scores with that. Budgets are in trainings of a median candidate; seconds are of one core
(`time.process_time`), the store is in the trainer's process.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import fmean, median, stdev
from typing import Any, final

if sys.path[0] == str(Path(__file__).resolve().parent):
    sys.path.append(sys.path.pop(0))  # a benchmark is called like the package parameter_server

from figure import parser, say, setting, table

from search_spaces.cnn.nasnet import NasnetSpace
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.setup import Setup
from workers.sharing import Sharing
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop

OPERATIONS = ("identity", "average_pool_3x3", "max_pool_3x3", "convolution_1x1", "separable_3x3")
SIZE: dict[str, Any] = {"cells": 1, "filters": 8, "blocks": 2, "reductions": 1}
CELLS: dict[str, Any] = {**SIZE, "operations": OPERATIONS, "combine": ("add",)}
TASK: dict[str, Any] = {"dataset": "digits", "validation": 0.3, "train_examples": 500, "batch_size": 32}
CHILDREN = 4
BUDGETS = (3, 6, 12, 24, 48)  # in trainings
REPEATS = 3  # trainings of each candidate, with seeds of their own
ORDERS = 200  # in which those without shared weights may come upon the pool


@final
@dataclass(frozen=True)
class Training:
    """One candidate trained from scratch: the accuracy after each epoch, and the seconds until then."""

    accuracies: tuple[float, ...]
    seconds: tuple[float, ...]


@final
@dataclass(frozen=True)
class Pick:
    """What one way found in one run: how good the pick is alone, and how well its scores order the pool."""

    value: float
    rho: float


def pool(count: int) -> list[Candidate]:
    """The candidates that all ways pick from."""
    generator, decisions = Random("pool"), NasnetSpace(**CELLS).decisions
    return [decisions.sample(generator) for _ in range(count)]


def workshop(seed: int) -> Workshop:
    from parameter_server.memory_store import MemoryStore

    task = Spec("image_classification", TASK)
    setup = Setup("benchmark", task, Spec("nasnet", CELLS), sharing=Sharing("", CHILDREN, seed))
    there = Workshop(setup)
    return Workshop(setup, MemoryStore(there.task.sharing_policy()))


def completed(result: Result) -> Result:
    if result.outcome is not Outcome.COMPLETED:
        raise SystemExit(f"trial {result.trial_id} {result.outcome}: {result.error}")
    return result


def trained(candidate: Candidate, seed: int, epochs: int) -> Training:
    """A training from scratch."""
    accuracies, seconds, began = [], [], time.process_time()

    def hear(progress: Any) -> None:
        accuracies.append(progress.metrics["accuracy"])
        seconds.append(time.process_time() - began)

    completed(workshop(0).run(Attempt(Trial(0, candidate, epochs, epochs, seed=seed)), hear))
    return Training(tuple(accuracies), tuple(seconds))


def shared(seed: int, candidates: Sequence[Candidate], limits: Sequence[float]) -> list[list[float]]:
    """For each limit in seconds, the scores of the candidates when that time is spent, the scoring included."""
    there, generator = workshop(seed), Random(f"children/{seed}")
    there.prepare()
    spent, number, found = 0.0, 0, []
    scoring = _scored(there, candidates)[1]  # a first guess; creates what no child uses, too
    for limit in limits:
        while spent + scoring < limit:
            began, child = time.process_time(), there.supernet.space.decisions.sample(generator)
            completed(there.run(Attempt(Trial(number, child, 1, 1, seed=seed, shared=True)), lambda progress: None))
            spent, number = spent + time.process_time() - began, number + 1
        scores, scoring = _scored(there, candidates)
        found.append(scores)
    return found


def _scored(there: Workshop, candidates: Sequence[Candidate]) -> tuple[list[float], float]:
    began, scores = time.process_time(), []
    for candidate in candidates:
        trial = Trial(1 << 30, candidate, 0, 1, shared=True)
        result = completed(there.run(Attempt(trial), lambda progress: None))
        scores.append(result.metrics["accuracy"])
    return scores, time.process_time() - began


def alone(trainings: Sequence[Sequence[Training]], epoch: int, limit: float) -> Iterator[Pick]:
    """Picks of who trains one candidate after the other up to `epoch`, as long as there is time; one at least."""
    generator = Random(f"{epoch}/{limit}")
    for number in range(ORDERS):
        repeat, order = number % REPEATS, generator.sample(range(len(trainings)), len(trainings))
        spent = 0.0
        seen: list[int] = []
        for place in order:
            spent += trainings[place][repeat].seconds[epoch]
            if seen and spent > limit:
                break
            seen.append(place)
        scores = [trainings[place][repeat].accuracies[epoch] for place in range(len(trainings))]
        others = [fmean(_ends(one, but=repeat)) for one in trainings]
        best = max(seen, key=lambda place: scores[place])
        yield Pick(_way(others, best), _rho(scores, others))


def _ends(trainings: Sequence[Training], but: int | None = None) -> list[float]:
    return [one.accuracies[-1] for repeat, one in enumerate(trainings) if repeat != but]


def _way(truths: Sequence[float], pick: int) -> float:
    """How far `pick` is on the way from the mean to the best."""
    return (truths[pick] - fmean(truths)) / ((max(truths) - fmean(truths)) or math.nan)


def _rho(scores: Sequence[float], truths: Sequence[float]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(scores, truths).statistic) if len(set(scores)) > 1 else 0.0


def _summed(picks: Sequence[Pick], runs: int) -> list[float]:
    """Mean and standard error of the value (of `runs` independent ones), mean correlation."""
    values = [one.value for one in picks]
    error = stdev(values) / math.sqrt(min(runs, len(values))) if len(values) > 1 else math.nan
    return [fmean(values), error, fmean(one.rho for one in picks)]


def measured(given: Namespace) -> dict[str, Any]:
    """All numbers of the figure."""
    os.environ["OMP_NUM_THREADS"] = "1"
    candidates = pool(given.pool)
    began = time.monotonic()
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as executor:
        jobs = [[executor.submit(trained, one, seed, given.epochs) for seed in range(REPEATS)] for one in candidates]
        trainings = [[job.result() for job in row] for row in jobs]
        say(f"{len(candidates)} candidates trained {REPEATS} times, {time.monotonic() - began:.0f} s")
        full = median(one.seconds[-1] for row in trainings for one in row)
        limits = [budget * full for budget in BUDGETS]
        scores = list(executor.map(shared, range(given.runs), *zip(*[(candidates, limits)] * given.runs, strict=True)))
    say(f"{given.runs} supernets, {time.monotonic() - began:.0f} s in all")
    truths = [fmean(_ends(row)) for row in trainings]
    rows = []
    for place, budget in enumerate(BUDGETS):
        judges = [
            [fmean(_ends(row, but=repeat)) for row in trainings] for repeat in range(REPEATS)
        ]  # as for the others
        picks = [Pick(_way(one, _argmax(run[place])), _rho(run[place], one)) for run in scores for one in judges]
        rows.append(
            {
                "trainings": budget,
                "shared": _summed(picks, given.runs),
                "alone": _summed(list(alone(trainings, given.epochs - 1, limits[place])), REPEATS),
                "first epoch": _summed(list(alone(trainings, 0, limits[place])), REPEATS),
                "accuracy": fmean(max(run[place]) for run in scores),
            }
        )
    return {
        "setting": setting(),
        "seconds": full,
        "accuracies": [min(truths), fmean(truths), max(truths)],
        "budgets": rows,
    }


def _argmax(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=lambda place: scores[place])


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--pool", type=int, default=48, help="candidates")
    options.add_argument("--epochs", type=int, default=6, help="of a training from scratch")
    options.set_defaults(runs=6)
    given = options.parse_args()
    found = measured(given)
    if given.json:
        print(json.dumps(found))
        return
    low, mean, high = found["accuracies"]
    print(f"{found['setting']}\n")
    print(f"One training: {found['seconds']:.1f} s. Alone the pool reaches {low:.3f} to {high:.3f}, mean {mean:.3f}.\n")
    ways = ("shared", "alone", "first epoch")
    rows = [
        [
            f"{row['trainings']:g}",
            *(f"{row[way][0]:.2f} ± {row[way][1]:.2f}" for way in ways),
            *(f"{row[way][2]:.2f}" for way in ways),
            f"{row['accuracy']:.3f}",
        ]
        for row in found["budgets"]
    ]
    titles = ["trainings", *ways, *(f"ρ {way}" for way in ways), "best shared score"]
    print(table(titles, rows))


if __name__ == "__main__":
    main()
