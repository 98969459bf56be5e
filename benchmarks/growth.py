"""What a trial costs the driver of a long search, in memory and time, as the search grows; per strategy, as a picture.

    python benchmarks/growth.py [--trials 100000] [--strategy NAME]... [--picture benchmarks/growth.svg]

A strategy with a job's rules around it and the history of its search hear what `benchmarks/replay.py` writes, without a
disk: the table of six decisions, each trial told at once, one in ten failed. `bytes` is what the process has grown by
since the point before, per trial; `us` the processor's microseconds for asking (hearing that it was asked), issuing and
telling a trial. Each strategy runs in a process of its own; models are not fitted (`benchmarks/replay.py` has that).
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import math
import multiprocessing
import resource
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias
from xml.sax.saxutils import escape

from replay import SETTINGS, history, with_rules

from nas.history import Entry, History
from nas.reports.chart import linear_ticks
from nas.strategy import Strategy
from workers.plugins import available, load
from workers.trial import Result, Trial

Event: TypeAlias = Trial | Result
Row: TypeAlias = tuple[int, float, float]  # trials, bytes per trial, microseconds per trial
POINTS = (1_000, 3_000, 10_000, 30_000, 100_000)
PICTURE = Path(__file__).with_name("growth.svg")


def grown(name: str, trials: int, say: Connection) -> None:
    """Send (trials, bytes per trial, microseconds per trial) at each point."""

    def make() -> Strategy:
        made: Strategy = load("nas.strategies", name, Strategy)(SETTINGS["table"])
        return made

    strategy, known = with_rules(make()), History()
    records = history(make(), trials, 100)
    before = 0
    for point in (one for one in POINTS if one <= trials):
        gc.collect()
        size, busy = resident(), 0.0
        for batch in batches(records, 2 * (point - before)):
            began = time.process_time()
            for entry, event in batch:
                known.feed(entry)
                if isinstance(event, Trial):
                    known.issued(event.id, 1, 0.0)
                    strategy.hear(known.trials[event.id].trial)
                else:
                    result = known.trials[event.trial_id].result
                    assert result is not None
                    strategy.tell(result)
            busy += time.process_time() - began
        gc.collect()
        count, before = point - before, point
        say.send((point, (resident() - size) / count, 1e6 * busy / count))


def batches(records: Iterator[Event], count: int) -> Iterator[list[tuple[Entry, Event]]]:
    """The next so many events as entries that were read from a text, a thousand at a time."""
    while count:
        some = list(itertools.islice(records, min(count, 1_000)))
        count -= len(some)
        yield [(entry(event), event) for event in some]
        if not some:
            return


def entry(event: Event) -> Entry:
    """An event as a journal has it."""
    if isinstance(event, Trial):
        return Entry(1, 0.0, "ask", event.id, json.loads(json.dumps(event.json())))
    return Entry(1, 0.0, "tell", event.trial_id, json.loads(json.dumps(event.json())))


def resident() -> int:
    """The bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measured(name: str, trials: int) -> list[Row]:
    """The figures of one strategy."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=grown, args=(name, trials, theirs))
    process.start()
    theirs.close()
    found = []
    try:
        while True:
            found.append(ours.recv())
    except EOFError:
        process.join()
    return found


def picture(found: dict[str, list[Row]], path: Path) -> None:
    """Both figures over the number of trials, as SVG; in the first thousand's memory are the packages that it loads."""
    panels = [
        panel(
            {name: [(row[0], row[place]) for row in rows[first:]] for name, rows in found.items()},
            title,
            60 + 470 * (place - 1),
        )
        for place, first, title in (
            (1, 1, "driver's memory, bytes per trial after the first thousand"),
            (2, 0, "processor's microseconds per trial"),
        )
    ]
    names = [
        f'<text x="{1000}" y="{60 + 20 * i}" fill="{colour(i)}">{escape(name)}</text>' for i, name in enumerate(found)
    ]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1120 340" font-family="sans-serif" font-size="12">'
    white = '<rect width="1120" height="340" fill="white"/>'
    path.write_text("\n".join([head, white, *panels, *names, "</svg>", ""]))


def panel(lines: dict[str, list[tuple[int, float]]], title: str, left: int) -> str:
    """One figure, logarithmic to the right, from 0 upwards."""
    top = 1.1 * max((value for line in lines.values() for _, value in line), default=1.0)

    def place(count: float, value: float) -> str:
        return f"{left + 180 * (math.log10(count) - 3):.1f},{290 - 240 * value / top:.1f}"

    parts = [f'<text x="{left}" y="30" font-size="14">{title}</text>']
    for count in (1_000, 10_000, 100_000):
        x = place(count, 0).split(",")[0]
        parts.append(f'<text x="{x}" y="312" text-anchor="middle">{count:,} trials</text>')
    for value in linear_ticks(0, top, 5):
        y = place(1_000, value).split(",")[1]
        parts.append(f'<path d="M{left},{y}h380" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y}" text-anchor="end">{value:,.0f}</text>')
    for number, line in enumerate(lines.values()):
        points = " ".join(place(*point) for point in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour(number)}" stroke-width="2"/>')
    return "\n".join(parts)


def colour(number: int) -> str:
    """One of ten that differ."""
    return f"hsl({36 * number} 70% {35 + 12 * (number % 2)}%)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--strategy", action="append")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    points = [point for point in POINTS if point <= options.trials]
    titles = " | ".join(f"{point:,}" for point in points)
    print(f"| strategy, bytes per trial from the point before to | {titles} | us per trial to {points[-1]:,} |")
    print("| --- |" + " ---: |" * (len(points) + 1))
    found: dict[str, list[Row]] = {}
    for name in options.strategy or sorted(available("nas.strategies", Strategy)):
        rows = found[name] = measured(name, options.trials)
        cells = " | ".join(f"{row[1]:,.0f}" for row in rows)
        print(f"| {name} | {cells} | {rows[-1][2]:.0f} |", flush=True)
        picture(found, options.picture)


if __name__ == "__main__":
    main()
