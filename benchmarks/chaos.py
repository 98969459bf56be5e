"""A search under which things break, one after the other, by a seeded schedule; what that loses, and how long it lasts.

    python benchmarks/chaos.py SCENE [--minutes 10] [--injections 200] [--seed 1] [--figures figures.jsonl]
    python benchmarks/chaos.py table figures.jsonl ...

Scenes: `server` (processes of this machine, a journal on PostgreSQL), `shards` (a controller on shards, a journal on a
small disk), `checkpoints`, `hosts` (a Ray cluster of hosts with networks of their own; takes root). The oracle is a
ledger that the trials write themselves: every trial that was asked must have one result, the one that its ledger says,
and none is started again once its result was told. Recovery is the time until all that was in flight is done and more
has begun, the trials' own seconds included.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests"), str(HERE.parent / "tests" / "chaos"), str(HERE)]
UNBROKEN = 20.0  # seconds for which nothing is broken, before and after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", choices=["server", "shards", "checkpoints", "hosts", "table"])
    parser.add_argument("figures_read", nargs="*", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--injections", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figures", type=Path, default=Path("chaos.jsonl"))
    options = parser.parse_args()
    if options.scene == "table":
        table([json.loads(line) for path in options.figures_read for line in path.read_text().splitlines()])
        return
    figures = run(options.scene, options.minutes * 60, options.injections, options.seed)
    with options.figures.open("a") as out:
        out.write(json.dumps(figures) + "\n")
    table([figures])


def run(scene: str, seconds: float, most: int, seed: int, calm: float = UNBROKEN) -> dict[str, object]:
    """Break things under one search for so long, between seconds of calm: what came of it."""
    from disasters.scenes import SCENES

    random = Random(seed)
    began = time.monotonic()
    stage = SCENES[scene](random)
    recovered: list[tuple[str, float]] = []
    failure = ""
    try:
        victim = stage.victim
        victim.until(lambda: len(victim.in_flight()) == 2, "the first trials")
        unbroken = [_rate(victim.starts, calm)]
        first, start = victim.starts(), time.monotonic()
        while time.monotonic() < start + seconds and len(recovered) < most:
            kind = random.choices(list(stage.kinds), list(stage.kinds.values()))[0]
            recovered.append((kind, stage.inject(kind)))
            victim.remember()
            print(f"{len(recovered):4} {kind:22} {recovered[-1][1]:6.2f} s", flush=True)
        broken = (victim.starts() - first) / (time.monotonic() - start)
        unbroken.append(_rate(victim.starts, calm))
        results, lost, twice = victim.stop()
    except BaseException as error:
        failure = f"{type(error).__name__}: {error}"
        print(failure, (stage.folder / "driver.log").read_text()[-3000:], flush=True)
        raise
    finally:
        if stage.victim.driver is not None and stage.victim.driver.poll() is None:
            stage.victim.driver.kill()
            stage.victim.driver.wait()
        if not failure or "CHAOS_KEEP" not in os.environ:
            stage.end()
    return {
        "scene": scene,
        "seed": seed,
        "hours": (time.monotonic() - began) / 3600,
        "recovered": recovered,
        "results": results,
        "lost": lost,
        "twice": twice,
        "broken": broken,
        "unbroken": sum(unbroken) / 2,
    }


def _rate(starts: Callable[[], int], seconds: float) -> float:
    before, began = starts(), time.monotonic()
    time.sleep(seconds)
    return (starts() - before) / (time.monotonic() - began)


def table(runs: list[dict[str, object]]) -> None:
    """Print the figures of some runs, added up, as a table for a page."""
    by_kind: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in runs:
        recovered = one["recovered"]
        assert isinstance(recovered, list)
        for kind, seconds in recovered:
            by_kind[str(one["scene"]), kind].append(seconds)
    print("| scene | injection | times | recovery p50 s | p99 s | max s |")
    print("|---|---|---|---|---|---|")
    for (scene, kind), all_seconds in sorted(by_kind.items()):
        ranked = sorted(all_seconds)
        numbers = [ranked[len(ranked) // 2], ranked[min(len(ranked) - 1, int(0.99 * len(ranked)))], ranked[-1]]
        print(f"| {scene} | {kind} | {len(ranked)} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |")
    count = sum(len(seconds) for seconds in by_kind.values())

    def total(name: str) -> float:
        return sum(float(str(one[name])) for one in runs)

    print(f"\n{count} injections in {total('hours'):.2f} hours under {len(runs)} searches; ", end="")
    print(f"{total('results'):.0f} results, {total('lost'):.0f} lost, {total('twice'):.0f} twice", end="")
    print(f" (95 % upper bound of either per injection: {100 * 3 / max(1, count):.2f} %)" if count else "")
    for scene in sorted({str(one["scene"]) for one in runs}):
        mine = [one for one in runs if one["scene"] == scene]
        broken = sum(float(str(one["broken"])) for one in mine) / len(mine)
        unbroken = sum(float(str(one["unbroken"])) for one in mine) / len(mine)
        print(f"{scene}: {broken:.2f} trials a second under injections, {unbroken:.2f} without")


if __name__ == "__main__":
    main()
