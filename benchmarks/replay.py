"""Seconds in which each strategy hears a long search again, and what the next ask then costs.

The journal is a real one on disk: a strategy is asked for the first `--asked` trials, which are then repeated under new
numbers, with fresh random candidates where a trial carries no note of its strategy; one in ten failed. What is timed is
what `nas resume` does (`hear`; `busy` counts the processor's seconds only): read the journal and let the strategy with
its rules around it live through it. Models are fitted at the first ask (`ask`); `next` is the median of ten further
ones, each after another result. What takes longer than `--limit` seconds is given up and shown as a dash. Each strategy
runs in a process of its own.

    python benchmarks/replay.py [--json] [--trials 100000] [--asked 100] [--strategy NAME]... [--limit 600]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import median
from typing import TypeAlias

from nas.history import Entry
from nas.journal import Journal
from nas.logs.sqlite import SqliteLog
from nas.strategy import Draw, Setting, Strategy
from nas.wrappers.budget import Budget, Limits
from nas.wrappers.deduplicate import Deduplicate
from nas.wrappers.enqueue import Enqueue
from nas.wrappers.final import Final, Finale
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Candidate, Decisions
from workers.objectives import Direction, Objective, Outcome
from workers.plugins import available, load
from workers.trial import Result, Trial

Event: TypeAlias = Trial | Result

ACCURACY = Objective("accuracy", Direction.MAXIMIZE)
TABLE = Decisions(
    {
        "depth": Range(1, 20, integer=True),
        "width": Choice((16, 32, 64, 128, 256), ordered=True),
        "optimizer": Choice(("sgd", "momentum", "adam")),
        "momentum": Range(0.5, 0.99, when=When.equals("optimizer", "momentum")),
        "rate": Range(1e-5, 1.0, log=True),
        "dropout": Range(0.0, 0.7),
    }
)
SPACE = PnasSpace()
STEPS = ("hear", "busy", "ask", "next")
SETTINGS = {
    "table": Setting(TABLE, (ACCURACY,), epochs=27, fidelities=(1, 3, 9)),
    "cells": Setting(SPACE.decisions, (ACCURACY,), space=SPACE, epochs=27),
}


def history(strategy: Strategy, trials: int, asked: int) -> Iterator[Event]:
    """What a search of so many trials asks and is told, each told at once; the first `asked` come from `strategy`."""
    kept: list[Trial] = []
    outcomes: dict[int, Outcome] = {}
    while len(kept) < asked and (trial := strategy.ask()) is not None:
        kept.append(trial)
        strategy.tell(result := ended(trial))
        outcomes[trial.id] = result.outcome
        yield trial
        yield result
    generator = Random(0)
    shown: dict[int, Candidate] = {}
    for number in range(len(kept), trials):
        place = number % len(kept)
        model, offset = kept[place], number - place
        candidate = model.candidate
        if model.parent is not None and model.parent in shown:
            candidate = shown[model.parent]
        elif not model.note:
            candidate = strategy.setting.decisions.sample(generator)
        shown[place] = candidate
        parent = None if model.parent is None else model.parent + offset
        trial = replace(model, id=number, candidate=candidate, parent=parent)
        yield trial
        yield replace(ended(trial), outcome=outcomes[place])


def ended(trial: Trial) -> Result:
    """A result that follows from the trial's number; one in ten failed."""
    generator = Random(trial.id)
    outcome = Outcome.FAILED if generator.random() < 0.1 else Outcome.COMPLETED
    metrics = {"accuracy": generator.random()} if outcome is Outcome.COMPLETED and trial.epochs else {}
    return Result(trial.id, 1, outcome, metrics, trial.epochs, 1.0)


def with_rules(strategy: Strategy) -> Final:
    """A strategy with the rules of a job around it."""
    return Final(Budget(Enqueue(Deduplicate(strategy)), Limits(seconds=1e9), lambda: 0.0), Finale())


def write(log: SqliteLog, events: Iterator[Event]) -> None:
    """A journal of a search that was interrupted, a thousand trials to a turn."""
    log.create("long", {}, {})
    epoch = log.acquire("long")
    entries: list[Entry] = []
    for number, event in enumerate(events):
        if isinstance(event, Trial):
            entries.append(Entry(0, float(number), "ask", event.id, event.json()))
            entries.append(Entry(0, float(number), "attempt", event.id, {"number": 1}))
        else:
            entries.append(Entry(0, float(number), "tell", event.trial_id, event.json()))
        if len(entries) >= 3_000:
            log.append("long", epoch, entries)
            entries = []
    log.append("long", epoch, entries)
    log.release("long", epoch, "interrupted")


def measure(name: str, setting: str, trials: int, asked: int, say: Connection) -> None:
    """Send the seconds of hearing (`busy`: of the processor), of the first ask, and the median of ten further ones."""

    def make() -> Strategy:
        made: Strategy = load("nas.strategies", name, Strategy)(SETTINGS[setting])
        return made

    with tempfile.TemporaryDirectory() as folder:
        log = SqliteLog(Path(folder))
        write(log, history(make(), trials, asked))
        strategy = with_rules(make())
        journal = Journal(log, "long", log.acquire("long"), pulse=None)
        busy = time.process_time()
        say.send(("hear", timed(lambda: journal.replay(strategy))))
        say.send(("busy", time.process_time() - busy))
        say.send(("ask", timed(strategy.ask)))
        say.send(("next", median(next_ask(strategy) for _ in range(10))))
        log.close()


def next_ask(strategy: Strategy) -> float:
    """The seconds of an ask that has one result more to learn from."""
    trial = strategy.ask()
    if trial is not None:
        strategy.tell(ended(trial))
    return timed(lambda: strategy.propose(Draw(0, strategy.next_id)))


def timed(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def row(name: str, setting: str, options: argparse.Namespace) -> dict[str, float | str | None]:
    """The figures of one strategy, None for what was given up."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    arguments = (name, setting, options.trials, options.asked, theirs)
    process = multiprocessing.get_context("spawn").Process(target=measure, args=arguments)
    process.start()
    theirs.close()
    found: dict[str, float | str | None] = {"strategy": name, "setting": setting, **dict.fromkeys(STEPS)}
    try:
        while None in found.values() and ours.poll(options.limit):
            key, seconds = ours.recv()
            found[key] = seconds
    except EOFError:
        found["failed"] = "yes"
    process.kill()
    process.join()
    return found


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=100)
    parser.add_argument("--strategy", action="append")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for each of the three steps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.strategy or sorted(available("nas.strategies", Strategy))
    rows = []
    if not options.json:
        print(f"{'strategy':12} {'':6} " + " ".join(f"{step:>10}" for step in STEPS))
    for name in names:
        for setting in SETTINGS:
            rows.append(found := row(name, setting, options))
            if not options.json:
                cells = ("-" if (value := found[key]) is None else f"{value:10.3f}" for key in STEPS)
                print(f"{name:12} {setting:6} " + " ".join(f"{cell:>10}" for cell in cells), flush=True)
    if options.json:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        print(json.dumps({"trials": options.trials, "machine": machine, "rows": rows}))


if __name__ == "__main__":
    main()
