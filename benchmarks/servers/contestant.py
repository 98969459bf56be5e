"""Contestant: a process that times what it can do, each time beside a copy of as many bytes of its own memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
Array: TypeAlias = NDArray[np.float32]
Times: TypeAlias = list[tuple[float, float]]  # seconds of a memory copy, and of the operation just after it


@final
class Contestant:
    """The process of `servers.<module>`, for gradients of so many megabytes (2**20 bytes).

    Its processes stand still while nobody asks: those of torch.distributed.rpc poll, each with a whole core.
    """

    def __init__(self, module: str, megabytes: int, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"servers.{module}", str(megabytes), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
            start_new_session=True,
        )
        self._line()  # it is ready
        self._signal(signal.SIGSTOP)

    def times(self, operation: str, count: int) -> Times:
        """Seconds of `count` operations, and of the copy before each."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        print(operation, count, file=self._process.stdin, flush=True)
        times = json.loads(self._line())
        self._signal(signal.SIGSTOP)
        return [(copy, seconds) for copy, seconds in times]

    def close(self) -> None:
        self._signal(signal.SIGCONT)
        with suppress(BrokenPipeError):
            self._process.communicate(timeout=60)

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args))} ended: its error is above")  # type: ignore[arg-type]
        return line


def environment() -> dict[str, str]:
    """That of a process which finds this package and these benchmarks; products take one thread, as on a busy node."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@contextmanager
def answering() -> Iterator[IO[str]]:
    """Where a contestant answers; whatever else it prints goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        yield answers


def serve(operations: Mapping[str, Callable[[], None]], megabytes: int, answers: IO[str]) -> None:
    """Time operations as lines of standard input ask for them, until there are no more."""
    source, target = gradient(megabytes), gradient(megabytes)
    for operation in operations.values():
        operation()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, count = line.split()
        times = []
        for _ in range(int(count)):
            began = time.perf_counter()
            np.copyto(target, source)
            copied = time.perf_counter()
            operations[name]()
            times.append((copied - began, time.perf_counter() - copied))
        print(json.dumps(times), file=answers, flush=True)


def gradient(megabytes: int) -> Array:
    """Small numbers, in memory that was touched."""
    return np.random.default_rng(0).standard_normal(megabytes * 2**18, np.float32) * np.float32(1e-3)
