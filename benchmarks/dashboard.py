"""What the pages of `nas dashboard` cost, in time and in bytes, at many trials.

    python benchmarks/dashboard.py [--trials 10 10000 100000] [--rounds 5] [--keep FOLDER]

A journal is made up: a search for two objectives on 16 slots, a fifth of it random, one trial in 40 failing. Then
the dashboard is served from a process of its own, as a user starts it, and asked over HTTP. `cold` is the time until
the page of a search stands there with all its trials, after the server has begun;
the others are the median and the largest of the answers after that, each page asked for several times. `cpu` are the
seconds of a core that the server took for an answer, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.history import Entry
from nas.home import open_log
from nas.log import Log
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial

SLOTS = 16
OPERATIONS = ("identity", "separable_3x3", "separable_5x5", "max_pool_3x3", "dilated_3x3", "separable_7x7")
JOB: dict[str, Json] = {
    "name": "cells",
    "task": {"name": "image_classification", "dataset": "digits", "epochs": 3},
    "space": {"name": "pnas", "blocks": 3, "operations": list(OPERATIONS)},
    "strategy": {"name": "evolution"},
    "objectives": [
        {"metric": "accuracy", "direction": "maximize"},
        {"metric": "parameters", "direction": "minimize"},
    ],
    "pool": {"name": "local", "slots": SLOTS},
    "baseline": 0.2,
    "seed": 7,
}


def journal(
    log: Log, search: str, trials: int, ended: bool = False, budget: int | None = None, ago: float = 0.0
) -> int:
    """Write a search of `trials` trials, the last of them at workers unless it has `ended`; the driver's epoch."""
    log.create(search, {**JOB, "name": search, "budget": {"trials": budget or trials}}, {"cellwright": "0.1.0"})
    epoch = log.acquire(search)
    batch: list[Entry] = []
    for entry in entries(trials, ended, time.time()):
        batch.append(entry)
        if len(batch) == 5000:
            log.append(search, epoch, batch)
            batch = []
    log.append(search, epoch, batch)
    if ended:
        log.release(search, epoch, "finished", "the budget is spent")
    return epoch


def entries(trials: int, ended: bool, now: float) -> Iterator[Entry]:
    """What the driver of such a search would have written, its last entry at about `now`."""
    chance = random.Random(trials)
    pace = 12.0 / SLOTS
    begin = now - trials * pace - 20
    yield Entry(0, begin, "slots", None, {"total": SLOTS})
    free = [begin + 0.1 * slot for slot in range(SLOTS)]
    waiting: list[tuple[float, Entry]] = []
    for number in range(trials):
        slot = min(range(SLOTS), key=free.__getitem__)
        start = free[slot]
        due = [one for one in waiting if one[0] <= start]
        waiting = [one for one in waiting if one[0] > start]
        yield from (entry for _, entry in sorted(due, key=lambda one: one[0]))
        trial = _trial(number, trials, chance)
        yield Entry(0, start, "ask", number, trial.json())
        yield Entry(0, start, "attempt", number, {"number": 1})
        seconds = chance.uniform(6, 18)
        free[slot] = start + seconds + 0.05
        if not ended and number >= trials - SLOTS:
            yield Entry(0, start + 2, "progress", number, {"attempt": 1, "epoch": 1, "metrics": {"accuracy": 0.6}})
            continue
        for epoch in (1, 2) if trials <= 1000 else ():
            told = {"accuracy": 0.4 + 0.2 * epoch + 0.1 * chance.random(), "loss": 1.2 / epoch}
            body, at = {"attempt": 1, "epoch": epoch, "metrics": told}, start + seconds * epoch / 3
            waiting.append((at, Entry(0, at, "progress", number, body)))
        end = start + seconds
        waiting.append((end, Entry(0, end, "tell", number, _result(trial, trials, seconds, chance).json())))
    yield from (entry for _, entry in sorted(waiting, key=lambda one: one[0]))
    yield Entry(0, now, "note", None, {"text": "trial 3 was tried again: a worker was lost"})


def _trial(number: int, trials: int, chance: random.Random) -> Trial:
    values: dict[str, str | int | float | bool] = {"blocks": 3}
    for block in range(1, 4):
        for side in (1, 2):
            values[f"block{block}_input{side}"] = chance.randrange(block + 1)
            values[f"block{block}_operation{side}"] = chance.choice(OPERATIONS)
    note = {"arm": "baseline"} if number % 5 == 4 else {}
    return Trial(number, Candidate(values), 3, 3, note=note, seed=number)


def _result(trial: Trial, trials: int, seconds: float, chance: random.Random) -> Result:
    if trial.id % 40 == 39:
        text = f"DivergedError: loss became nan after {chance.randrange(900)} steps (training.py, line 118)"
        return Result(trial.id, 1, Outcome.FAILED, {}, 1, seconds, seconds, error=text)
    learned = 1 - math.exp(-3 * trial.id / trials) if not trial.note else 0.0
    size = 10 ** chance.uniform(3.3, 5.7)
    accuracy = 0.985 - 0.1 * (1 - 0.75 * learned) * chance.random() ** 1.5
    accuracy -= 0.05 / math.log10(size) + 0.01 * chance.random()
    metrics = {"accuracy": accuracy, "parameters": float(int(size)), "loss": 1.1 - accuracy}
    return Result(trial.id, 1, Outcome.COMPLETED, metrics, 3, seconds, seconds, device="CPU")


def served(home: Path) -> tuple[subprocess.Popen[str], str]:
    """A dashboard in a process of its own, and its address."""
    command = [sys.executable, "-m", "nas", "dashboard", "--port", "0", "--journal", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ask(address: str) -> tuple[float, bytes]:
    """How long an answer took, in seconds, and the answer."""
    began = time.perf_counter()
    with urllib.request.urlopen(address, timeout=60) as answer:
        content = answer.read()
    return time.perf_counter() - began, content


def measure(home: Path, search: str, rounds: int) -> Iterator[dict[str, Json]]:
    """One record for each page."""
    process, address = served(home)
    try:
        page = f"{address}searches/{search}"
        began, used = time.perf_counter(), _cpu(process.pid)
        while b"data-reading" in (found := ask(page))[1]:
            time.sleep(0.5)
        cold, used = time.perf_counter() - began, _cpu(process.pid) - used
        yield {"page": "cold", "seconds": round(cold, 2), "cpu": round(used, 2), "bytes": len(found[1])}
        tags = ",".join(":".join(one) for one in re.findall(r'data-part="(\w+)" data-tag="(\w+)"', found[1].decode()))
        pages = {
            "searches": address,
            "search": page,
            "search, sorted": f"{page}?sort=accuracy",
            "search, last page": f"{page}?sort=parameters&page=9999999",
            "search, a word": f"{page}?text=dilated_3x3&sort=seconds",
            "search, failed": f"{page}?state=failed",
            "trial": f"{page}/trials/7",
            "live, unchanged": f"{page}/live?have={tags}",
            "live, everything": f"{page}/live",
        }
        for name, one in pages.items():
            used = _cpu(process.pid)
            answers = [ask(one) for _ in range(rounds)]
            used = (_cpu(process.pid) - used) / rounds
            times = [seconds for seconds, _ in answers]
            yield {
                "page": name,
                "seconds": round(statistics.median(times), 3),
                "most": round(max(times), 3),
                "cpu": round(used, 3),
                "bytes": max(len(content) for _, content in answers),
            }
        yield {"page": "memory", "bytes": _memory(process.pid)}
    finally:
        process.terminate()
        process.wait()


def _memory(pid: int) -> int:
    """The resident bytes of a process."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS"))) * 1024


def _cpu(pid: int) -> float:
    """The seconds of a core that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[10, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="where to leave the journals")
    given = parser.parse_args(arguments)
    for trials in given.trials:
        with tempfile.TemporaryDirectory() as temporary:
            home = (given.keep or Path(temporary)) / str(trials)
            log = open_log(str(home))
            if not list(home.glob("*/*.sqlite")):
                journal(log, "cells", trials, ended=True)
            log.close()
            for record in measure(home, "cells", given.rounds):
                print(json.dumps({"trials": trials, **record}), flush=True)


if __name__ == "__main__":
    main()
