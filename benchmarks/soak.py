"""A soak: short trials for long, and whether anything that they use grows meanwhile.

    python benchmarks/soak.py [--pool local|ray] [--minutes 60] [--every 10] [--json]

One driver runs search after search, 500 trials of a few milliseconds each, on one pool of two workers, with journals on
disk and a store of two shards to which every trial pushes. A search's history is in its driver, and grows with it by
design; so searches are short, and what grows from one to the next is a leak. This process looks at all that the driver
has started, and adopts what is left behind. After a warm-up of a quarter of the time a line is fitted to each series;
the confidence that no series is called growing by chance is 95 % over all of them together (Bonferroni).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from soak_samples import MEASURES, Sample, sample  # noqa: E402 - beside this file
from soak_slopes import STRETCHES, Slope, slope  # noqa: E402

WARM_UP = 0.25  # of the time
TRIALS = 500  # of one search
SUBREAPER = 36  # prctl(2): orphans of what this process has started become its children


def drive(folder: Path, pool_name: str) -> None:
    """Search after search on one pool, until SIGTERM."""
    import numpy as np
    from soak_trial import STORE

    from nas.driver import start
    from nas.home import open_log
    from nas.job import Job
    from nas.journal import Journal
    from nas.plan import Plan
    from nas.search import search
    from parameter_server.opened import open_store
    from parameter_server.optimizers import SGD
    from parameter_server.policy import Group, Policy

    going_on = True

    def end(number: int, frame: Any) -> None:
        nonlocal going_on
        going_on = False

    signal.signal(signal.SIGTERM, end)
    os.environ[STORE] = str(folder / "store")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent)])
    record = {"name": "soak", "task": "soak_trial:train", "folder": str(HERE), "strategy": "random", "baseline": 0.0}
    record |= {"budget": {"trials": TRIALS}, "pool": {"name": pool_name, "slots": 2}, "final": {"top": 0}}
    job = Job.parse({**record, "journal": str(folder), "artifacts": str(folder / "artifacts")})
    with closing(open_store(folder / "store", Policy((Group(SGD(0.001)),)), shards=2)) as store:
        store.create({name: np.zeros(1000, np.float32) for name in ("a", "b")})
        with closing(Plan.of(job).pool()) as pool:
            for number in count():
                if not going_on:
                    break
                with closing(open_log(str(folder / "searches" / str(number)))) as log:
                    name = start(job, log)
                    journal = Journal(log, name, log.acquire(name))
                    with closing(replace(Plan.of(job), search=name).strategy()) as strategy:
                        search(strategy, pool, journal)
                    journal.release("finished")
                with (folder / "trials").open("a") as told:
                    told.write(f"{len(journal.history.trials)}\n")
                gc.collect()


def watch(folder: Path, pool_name: str, minutes: float, every: float) -> tuple[list[float], list[Sample], int]:
    """The seconds and samples of a soak, and how many trials it had."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    with (folder / "log").open("w") as log:
        driver = subprocess.Popen(
            [sys.executable, str(HERE / "soak.py"), "--drive", str(folder), "--pool", pool_name], stdout=log, stderr=log
        )
    times, samples, begun = list[float](), list[Sample](), time.monotonic()
    try:
        while (now := time.monotonic() - begun) < 60 * minutes:
            _reap(driver.pid)
            if driver.poll() is not None:
                raise SystemExit(f"the driver ended: {(folder / 'log').read_text()[-2000:]}")
            if (folder / "trials").exists():
                times.append(now)
                samples.append(sample(os.getpid()))
            time.sleep(max(0.0, every - (time.monotonic() - begun - now)))
    finally:
        driver.terminate()
        try:
            driver.wait(120)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
    counts = (folder / "trials").read_text().split() if (folder / "trials").exists() else []
    return times, samples, sum(map(int, counts))


def _reap(driver: int) -> None:
    """Bury the orphans that have ended; the driver is its own object's to wait for."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != driver:
            try:
                os.waitpid(int(entry), os.WNOHANG)
            except ChildProcessError:
                continue


def judged(times: list[float], samples: list[Sample]) -> dict[tuple[str, str], Slope]:
    """The slope of every series after the warm-up; what a sample does not have is 0 there."""
    first = next((i for i, at in enumerate(times) if at >= times[0] + WARM_UP * (times[-1] - times[0])), 0)
    hours, later = [at / 3600 for at in times[first:]], samples[first:]
    series = sorted({key for one in later for key in one}, key=lambda key: (key[0], MEASURES.index(key[1])))
    confidence = 1 - 0.05 / max(1, len(series))
    return {key: slope(hours, [one.get(key, 0.0) for one in later], confidence) for key in series}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", choices=["local", "ray"], default="local")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two samples")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drive is not None:
        drive(asked.drive, asked.pool)
        return
    with tempfile.TemporaryDirectory(prefix="cellwright-soak-") as name:
        times, samples, trials = watch(Path(name), asked.pool, asked.minutes, asked.every)
        if len(times) < 2 * STRETCHES:
            log = (Path(name) / "log").read_text()[-1000:]
            raise SystemExit(f"{len(times)} samples are too few: more --minutes, or fewer seconds --every. {log}")
    found = judged(times, samples)
    if asked.json:
        record = [{"role": r, "measure": m, **vars(s), "verdict": s.verdict} for (r, m), s in found.items()]
        print(json.dumps({"pool": asked.pool, "minutes": asked.minutes, "trials": trials, "series": record}))
        return
    print(f"{asked.pool}: {trials:,} trials in {asked.minutes:g} minutes, {len(samples)} samples")
    print("| what | of | mean | per hour | between | slope |\n|---|---|---:|---:|---:|---|")
    for (role, measure), one in found.items():
        scale, unit = (1e-6, " MB") if measure in ("rss", "pss") else (1.0, "")
        mean, rise, low, high = (f"{scale * value:.3g}" for value in (one.mean, one.slope, one.low, one.high))
        print(f"| {measure} | {role} | {mean}{unit} | {rise}{unit} | {low} to {high} | {one.verdict} |")


if __name__ == "__main__":
    main()
