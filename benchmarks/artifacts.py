"""What it costs to store and read the files of trials, against a file that is written to the disk and no more.

    python benchmarks/artifacts.py [--place FOLDER_OR_URL]... [--repetitions 20]

`put` and `get` are ours, with the digest beside each file and the check against it; `plain` is one file that is
written, brought to the disk (fsync) and renamed. Without a place: a folder, and an S3 server of this machine (moto, in
Python, which keeps all in memory: what it adds is its own cost, and that of HTTP). Milliseconds, medians and quartiles.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from workers.artifacts import Artifacts

SIZES = {"10 kB": 10_000, "1 MB": 1_000_000, "30 MB": 30_000_000}


@contextmanager
def places(named: list[str]) -> Iterator[list[str]]:
    """Those that the user names, or a folder and a bucket of this machine."""
    if named:
        yield named
        return
    import boto3  # type: ignore[import-untyped]
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update({**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}"})
    try:
        boto3.client("s3").create_bucket(Bucket="files")
        with tempfile.TemporaryDirectory(prefix="cellwright-artifacts-") as folder:
            yield [folder, "s3://files/runs"]
    finally:
        server.stop()


def plain(folder: Path, content: bytes) -> None:
    """What any careful program does with a file."""
    temporary = folder / "temporary"
    with temporary.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(folder / "plain")


def timed(action: Callable[[], object], repetitions: int) -> str:
    """Milliseconds of it, after one that does not count."""
    action()
    found = []
    for _ in range(repetitions):
        began = time.perf_counter()
        action()
        found.append(1e3 * (time.perf_counter() - began))
    low, middle, high = statistics.quantiles(found, n=4)
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def row(place: str, content: bytes, repetitions: int) -> list[str]:
    """`put`, `get` and, in a folder, `plain`, of one size."""
    artifacts, trials = Artifacts.open(place), count()

    def put() -> None:
        artifacts.put("benchmark", next(trials), 1, "checkpoint", content)

    def get() -> None:
        assert len(artifacts.get("benchmark", 0, 1, "checkpoint")) == len(content)

    cells = [timed(put, repetitions), timed(get, repetitions)]
    return [*cells, "-" if "://" in place else timed(lambda: plain(Path(place), content), repetitions)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", action="append", default=[])
    parser.add_argument("--repetitions", type=int, default=20)
    asked = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    print("| place | size | put, ms | get, ms | plain, ms |\n|---|---:|---:|---:|---:|")
    with places(asked.place) as found:
        for place in found:
            for size, length in SIZES.items():
                kind = place.partition("://")[0] if "://" in place else "folder"
                print(" | ".join([f"| {kind}", size, *row(place, os.urandom(length), asked.repetitions)]), "|")


if __name__ == "__main__":
    main()
