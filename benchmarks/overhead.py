"""What a search costs beside its trials: trials per second of a space of 20 decisions with nothing to train.

    python benchmarks/overhead.py [--json] [--trials 10000] [--depth 4]

Everything runs in one process on one local Ray cluster with the same number of slots, in turns. `nas` is a whole job:
random search without duplicates, journal on disk, Ray actors; `nas_full` the same with `durability: full`. `bare_ray`
is a loop of `ray.wait` over the same actors, the same JSON going in and out and as many calls queued, that decides
and keeps nothing. `ray_tune` and `ray_tune_reuse` are Ray Tune on the same space as it comes, and with
`reuse_actors=True`; since a trial takes it up to a second it runs fewer of them, after a short run that does not count.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, final

import ray

from nas.driver import drive, start
from nas.history import History
from nas.home import open_log
from nas.job import Job
from nas.plan import Plan
from nas.versions import versions
from search_spaces.decision import Choice, Range
from workers.objectives import Outcome
from workers.pool import Pool
from workers.pools.slots import hire
from workers.trial import Attempt

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import empty_trial  # noqa: E402 - beside this file, as a user's module would be

NAMES = ("nas", "nas_full", "bare_ray", "ray_tune", "ray_tune_reuse")
TUNE_TRIALS = {"ray_tune": 20, "ray_tune_reuse": 1000}


@final
class Stopwatch:
    """An observer: the seconds from the turn in which all slots were there to the last one."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.began: float | None = None
        self.ended = 0.0

    def turn(self, history: History, pool: Pool) -> None:
        if self.began is None and pool.free + pool.busy >= self.places:
            self.began = time.perf_counter()
            self.before = history.outcomes.total()
        self.ended = time.perf_counter()


def job(trials: int, slots: int, depth: int, home: str, durability: str = "normal") -> Job:
    """A job as a user would write it."""
    return Job.parse(
        {
            "name": "overhead",
            "task": "empty_trial:train",
            "strategy": "random",
            "budget": {"trials": trials},
            "pool": {"name": "ray", "slots": slots, "depth": depth},
            "final": {"top": 0},
            "journal": {"place": home, "durability": durability},
            "folder": str(HERE),
        }
    )


def nas(trials: int, slots: int, depth: int, durability: str) -> float:
    """Trials per second of a search."""
    with tempfile.TemporaryDirectory() as home:
        watch = Stopwatch(slots * depth)
        with closing(open_log(home)) as log:
            search = start(job(trials, slots, depth, home, durability), log)
            drive(search, log, watch)
            history = History.of(log.entries(search))
    assert history.outcomes == {Outcome.COMPLETED: trials}
    assert watch.began is not None
    return (trials - watch.before) / (watch.ended - watch.began)


def bare_ray(trials: int, slots: int, depth: int) -> float:
    """Calls per second of the plain loop: wait for an answer, send the next question."""
    plan = Plan.of(job(trials, slots, depth, ""))
    strategy = plan.strategy()
    asked = [trial for _ in range(trials) if (trial := strategy.ask()) is not None]
    texts = iter([json.dumps(Attempt(trial).json(), separators=(",", ":")) for trial in asked])
    actors = [hire(json.dumps(plan.setup.json()), {"CPU": 1.0, "GPU": 0.0}) for _ in range(slots)]
    assert not any(ray.get([actor.ready.remote() for actor in actors]))
    began = time.perf_counter()
    flying = {actor.run.remote(next(texts)): actor for _ in range(depth) for actor in actors}
    answers = []
    while flying:
        arrived, _ = ray.wait(list(flying))
        for reference in arrived:
            answers.append(ray.get(reference))
            actor = flying.pop(reference)
            if (text := next(texts, None)) is not None:
                flying[actor.run.remote(text)] = actor
    seconds = time.perf_counter() - began
    for actor in actors:
        ray.kill(actor)
    assert len(answers) == trials
    return trials / seconds


def ray_tune(slots: int, name: str) -> float:
    """Trials per second of Ray Tune."""
    return TUNE_TRIALS[name] / _tune(TUNE_TRIALS[name], slots, reuse=name == "ray_tune_reuse")


def _tune(trials: int, slots: int, reuse: bool) -> float:
    from ray import tune

    def train(values: Mapping[str, Any]) -> None:
        tune.report({"score": 0.0})

    space = {name: _tune_decision(tune, decision) for name, decision in empty_trial.decisions.items()}
    with tempfile.TemporaryDirectory() as folder:
        settings = tune.TuneConfig(
            num_samples=trials, max_concurrent_trials=slots, reuse_actors=reuse, metric="score", mode="max"
        )
        run = tune.RunConfig(storage_path=folder, verbose=0)
        began = time.perf_counter()
        answers = tune.Tuner(train, param_space=space, tune_config=settings, run_config=run).fit()
        seconds = time.perf_counter() - began
    assert len(answers) == trials
    assert not answers.num_errors
    return seconds


def _tune_decision(tune: Any, decision: Choice | Range) -> Any:
    if isinstance(decision, Choice):
        return tune.choice(list(decision.options))
    if decision.integer:
        return tune.randint(int(decision.low), int(decision.high) + 1)
    return tune.loguniform(decision.low, decision.high)


def measured(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Trials per second by name, one number per repetition, the candidates taking turns."""
    shape = (arguments.trials, arguments.slots, arguments.depth)
    plain: dict[str, Callable[[], float]] = {
        "nas": partial(nas, *shape, "normal"),
        "bare_ray": partial(bare_ray, *shape),
        "nas_full": partial(nas, *shape, "full"),
    }
    rates: dict[str, list[float]] = {name: [] for name in NAMES}
    _tune(4, arguments.slots, reuse=True)
    for repetition in range(arguments.repetitions):
        for name, rate in plain.items():
            rates[name].append(rate())
        for name in TUNE_TRIALS:
            if repetition < arguments.tune_repetitions:
                rates[name].append(ray_tune(arguments.slots, name))
    return rates


@contextmanager
def cluster(slots: int) -> Iterator[None]:
    """A Ray cluster of this machine that says little."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AIR_NEW_OUTPUT="0", TUNE_DISABLE_STRICT_METRIC_CHECKING="1")
    ray.init(address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def table(rates: Mapping[str, list[float]], arguments: argparse.Namespace) -> str:
    """Medians, spreads and ratios for people."""
    bare, reuse = statistics.median(rates["bare_ray"]), statistics.median(rates["ray_tune_reuse"])
    found = versions()
    told = ", ".join(f"{name} {found[name]}" for name in ("python", "ray", "cellwright") if name in found)
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores; {told}",
        f"{arguments.trials} trials of 20 decisions on {arguments.slots} slots with {arguments.depth} attempts each "
        f"(Ray Tune: {TUNE_TRIALS['ray_tune']} trials, {TUNE_TRIALS['ray_tune_reuse']} with reused actors)",
        "",
        f"{'':16}{'trials/s':>10}{'lowest':>10}{'highest':>10}{'of bare':>10}{'of reuse':>10}",
    ]
    for name in NAMES:
        rate = statistics.median(rates[name])
        span = f"{min(rates[name]):10.1f}{max(rates[name]):10.1f}"
        lines.append(f"{name:16}{rate:10.1f}{span}{rate / bare:10.2f}{rate / reuse:10.1f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print medians as JSON and nothing else")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--depth", type=int, default=4, help="attempts that an actor holds, the running one included")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--tune-repetitions", type=int, default=1)
    arguments = parser.parse_args()
    if min(arguments.trials, arguments.slots, arguments.depth, arguments.repetitions, arguments.tune_repetitions) < 1:
        parser.error("every number must be at least 1")
    stdout = os.dup(1)
    os.dup2(2, 1)  # Ray Tune prints
    with cluster(arguments.slots):
        rates = measured(arguments)
    medians = {name: round(statistics.median(rates[name]), 3) for name in NAMES}
    text = json.dumps(medians) if arguments.json else table(rates, arguments)
    os.write(stdout, f"{text}\n".encode())


if __name__ == "__main__":
    main()
