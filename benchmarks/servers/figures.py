"""How close the parameter server is to the speed of memory, what others reach, and what `kill -9` costs.

    python benchmarks/parameter_server.py [--json] [--only push,pull,tcp,ray,rpc,crowd,kills] [--rounds 30]

One configuration for all: every check on, safe against the death of any process (`servers/ours.py`). A time is a median
of a round; who is compared takes turns within each round, and a memory copy of as many bytes, of memory that was
touched before, is timed before every operation, in the same process. Printed are medians over rounds, and the range
that holds 80 % of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Final, TypeAlias

import numpy as np
from figure import setting, table

from servers.contestant import Contestant
from servers.crowd import Result, crowd
from servers.deaths import deaths
from servers.ours import DURABILITY

PARTS: Final = ("push", "pull", "tcp", "ray", "rpc", "crowd", "kills")
MEGABYTES: Final = (16, 64)
TOPOLOGY: Final = (20, 100)  # shards and clients (Zoph & Le 2017)
Figures: TypeAlias = dict[str, float]
Seconds: TypeAlias = dict[str, list[float]]  # medians of rounds, by contestant and operation


def against_copies(name: str, rounds: int, count: int) -> Figures:
    """Pushes or pulls of our store, as multiples of a memory copy."""
    figures: Figures = {}
    with ExitStack() as stack:
        ours = {size: stack.enter_context(closing(Contestant("ours", size, "1"))) for size in MEGABYTES}
        found: dict[int, list[float]] = {size: [] for size in MEGABYTES}
        for _ in range(rounds):
            for size, contestant in ours.items():
                times = contestant.times(name, max(2, count * 16 // size))
                copy, operation = (statistics.median(column) for column in zip(*times, strict=True))
                found[size].append(operation / copy)
    for size, ratios in found.items():
        figures |= spread(f"{name}_{size}mb_copies", ratios)
    return figures


def against(name: str, ours: str, rivals: Mapping[str, Sequence[str]], rounds: int, count: int) -> Figures:
    """How much longer each operation of a rival takes than our push of 16 MB, and both as multiples of a copy."""
    operations = {"ours": ("ours", ours)} | {
        f"{module}_{one}" if len(every) > 1 else module: (module, one)
        for module, every in rivals.items()
        for one in every
    }
    seconds: Seconds = {one: [] for one in operations}
    copies: Seconds = {one: [] for one in operations}
    with ExitStack() as stack:
        contestants = {"ours": stack.enter_context(closing(Contestant("ours", MEGABYTES[0], "1")))}
        for module in rivals:
            contestants[module] = stack.enter_context(closing(Contestant(module, MEGABYTES[0])))
        for _ in range(rounds):
            for one, (module, operation) in operations.items():
                times = contestants[module].times(operation, count)
                copy, taken = (statistics.median(column) for column in zip(*times, strict=True))
                seconds[one].append(taken)
                copies[one].append(taken / copy)
    figures: Figures = {}
    for one, taken_by in seconds.items():
        figures |= spread(f"{name}_{one}_copies", copies[one])
        if one != "ours":
            ratios = [theirs / own for theirs, own in zip(taken_by, seconds["ours"], strict=True)]
            figures |= spread(f"{name}_{one}_over_ours", ratios)
    return figures


def crowded(rounds: int, seconds: float) -> Figures:
    """Whole updates a second of 100 clients on 20 shards, by both ways."""
    figures: Figures = {}
    ways = {"same_machine": False, "network": True}
    found: dict[str, list[Result]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, network in ways.items():
            found[way].append(crowd(*TOPOLOGY, seconds, network))
    for way, results in found.items():
        figures |= spread(f"crowd_{way}_updates_per_second", [one.rate for one in results])
        figures[f"crowd_{way}_errors"] = sum(one.errors for one in results)
        figures[f"crowd_{way}_p50_seconds"] = statistics.median(one.median for one in results)
        figures[f"crowd_{way}_p99_seconds"] = statistics.median(one.slowest for one in results)
    return figures


def killed(kills: int) -> Figures:
    """Back in service after `kill -9`; what became of the pushes."""
    found = deaths(kills)
    return {
        "kills": kills,
        "kills_back_p50_seconds": float(np.quantile(found.seconds, 0.5)),
        "kills_back_p99_seconds": float(np.quantile(found.seconds, 0.99)),
        "kills_back_worst_seconds": max(found.seconds),
        "kills_slowest_push_seconds": found.slowest,
        "kills_acknowledged": found.acknowledged,
        "kills_lost": found.lost,
        "kills_twice": found.twice,
    }


def spread(name: str, values: Sequence[float]) -> Figures:
    """The median of rounds, and what 80 % of them lie between."""
    low, middle, high = (float(np.quantile(values, share)) for share in (0.1, 0.5, 0.9))
    return {name: middle, f"{name}_low": low, f"{name}_high": high}


def measured(given: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """The figures of one part after the other."""
    rounds, count = given.rounds, given.count
    parts: dict[str, Callable[[], Figures]] = {
        "push": lambda: against_copies("push", rounds, count),
        "pull": lambda: against_copies("pull", rounds, count),
        "tcp": lambda: against("tcp", "tcp", {"raw_socket": ["push"]}, rounds, count),
        "ray": lambda: against("ray", "push", {"ray_actor": ["documented", "lean"]}, rounds, count),
        "rpc": lambda: against("rpc", "push", {"torch_rpc": ["push"]}, rounds, count),
        "crowd": lambda: crowded(given.crowds, given.seconds),
        "kills": lambda: killed(given.kills),
    }
    for name in given.only:
        began = time.monotonic()
        yield name, parts[name]()
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def page(figures: Figures) -> str:
    """The figures for people."""
    rows = []
    for name, value in figures.items():
        if not name.endswith(("_low", "_high")):
            low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
            rows.append([name, f"{value:.4g}", "" if low is None else f"{low:.4g} to {high:.4g}"])
    return table(["", "median", "80 % of rounds"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one object of figures and nothing else")
    parser.add_argument("--only", type=lambda text: text.split(","), default=PARTS, metavar="PART[,PART...]")
    parser.add_argument("--rounds", type=int, default=30, help="of pushes and pulls")
    parser.add_argument("--count", type=int, default=8, help="pushes of 16 MB in a round; of 64 MB a quarter of them")
    parser.add_argument("--crowds", type=int, default=5, help="rounds of the crowd")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a crowd")
    parser.add_argument("--kills", type=int, default=40)
    given = parser.parse_args()
    if unknown := set(given.only) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: take some of {', '.join(PARTS)}")
    if min(given.rounds, given.count, given.crowds, given.kills) < 1 or given.seconds <= 0:
        parser.error("every number must be at least 1")
    load = os.getloadavg()[0]
    figures: Figures = {}
    for _, found in measured(given):
        figures |= found
    settings = {
        "setting": setting(),
        "durability": DURABILITY,
        "checks": "checksum, finite, shape, exactly once, double buffer",
        "optimizer": "sgd",
        "shards": "1; crowd 20, kills 2",
        "rounds": given.rounds,
        "load_before": load,
    }
    if given.json:
        print(json.dumps({**settings, **figures}))
        return
    said = "; ".join(f"{name}: {value}" for name, value in settings.items() if name != "setting")
    print(f"{setting()}\n\n{said}\n")
    print(page(figures))


if __name__ == "__main__":
    main()
