"""How fairly several searches share a cluster, in real time, and what a renewal costs the broker.

    python benchmarks/fair_shares.py [--minutes 10] [--slots 10] [--weights 1,1,1] [--longest 30] [--kills 2]
    python benchmarks/fair_shares.py --cost

A real Ray cluster on this machine, each search a driver of its own with trials that sleep for up to `longest` seconds;
the broker is killed `kills` times under way. The error is by how much of its fair share the search that fared worst had
too little or too much, in slot seconds that its driver has counted. It counts from when all of them have slots.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests"), str(HERE.parent / "tests" / "workers")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--slots", type=int, default=10)
    parser.add_argument("--weights", default="1,1,1")
    parser.add_argument("--longest", type=float, default=30.0)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--cost", action="store_true")
    options = parser.parse_args()
    if options.cost:
        cost()
    else:
        weights = [float(weight) for weight in options.weights.split(",")]
        share(weights, options.slots, 60 * options.minutes, options.longest, options.kills)


def share(weights: list[float], slots: int, seconds: float, longest: float, kills: int) -> None:
    """Let searches of these weights share so many slots for so long."""
    from clusters import RayCluster
    from sharer import samples, used

    from workers.pools.shares import filled

    folder = Path(tempfile.mkdtemp(prefix="fair-"))
    ledgers = [folder / f"{number}.ledger" for number in range(len(weights))]
    cluster = RayCluster(cpus=slots)
    searches: list[subprocess.Popen[bytes]] = []
    try:
        for number, weight in enumerate(weights):
            command = [sys.executable, str(HERE.parent / "tests" / "workers" / "sharer.py"), f"search-{number}"]
            command += [str(ledgers[number]), str(longest), str(weight)]
            searches.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=cluster.whole_environment
                )
            )
        while not all(any(one.busy for one in samples(ledger)) for ledger in ledgers):
            if any(search.poll() is not None for search in searches):
                raise SystemExit("a search has ended by itself")
            time.sleep(0.2)
        begin = time.time()
        with cluster.joined():
            for _ in range(kills):
                time.sleep(max(0.0, seconds / (kills + 1)))
                for broker in _brokers():
                    os.kill(broker, signal.SIGKILL)
        time.sleep(max(0.0, begin + seconds - time.time()))
        end = time.time()
        had = [used(ledger, begin, end) / (end - begin) for ledger in ledgers]
    finally:
        for search in searches:
            assert search.stdin is not None
            search.stdin.close()
            search.wait(120)
        cluster.stop()
    fair = [part * slots for part in filled(weights, [1.0] * len(weights))]
    for weight, mine, due in zip(weights, had, fair, strict=True):
        print(f"weight {weight:g}: {mine:.3f} slots on average, fair {due:.3f}: {100 * (mine / due - 1):+.1f} %")
    total = sum(had)
    worst = max(abs(mine / total * slots / due - 1) for mine, due in zip(had, fair, strict=True))
    print(f"{end - begin:.0f} s, the broker killed {kills} times; slots busy {100 * total / slots:.1f} %")
    print(f"error of the shares of what was used {100 * worst:.1f} %, ", end="")
    print(f"of all slots {100 * max(abs(a / b - 1) for a, b in zip(had, fair, strict=True)):.1f} %")


def _brokers() -> list[int]:
    from ray._private.state import actors

    alive = [one for one in actors().values() if one["State"] == "ALIVE"]
    return [one["Pid"] for one in alive if one["ActorClassName"] == "Broker"]


def cost() -> None:
    """The seconds of a core that a renewal takes, by how many searches share a cluster of how many slots."""
    from workers.pools.shares import Claim, Shares

    for members, slots in ((3, 10), (10, 1000), (100, 1000), (100, 100_000), (1000, 100_000)):
        shares = Shares(time.monotonic, settle=0.0, lease=1e9)
        claims = [Claim(str(number), slots, slots, 0) for number in range(members)]
        for claim in claims:
            shares.renew(claim)
        began, rounds = time.process_time(), 20
        for number in range(rounds):
            shares.renew(claims[number % members])
        each = (time.process_time() - began) / rounds
        print(f"{members} searches on {slots} slots: {1000 * each:.2f} ms a renewal, one a second each: "
              f"{100 * each * members:.1f} % of a core")  # fmt: skip


if __name__ == "__main__":
    main()
