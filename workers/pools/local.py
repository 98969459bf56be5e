"""Local: processes of this machine, one per slot."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal, final

from workers.errors import UserError
from workers.pool import Event, Pool, Slots
from workers.pools.running import Running
from workers.setup import Setup
from workers.trial import Attempt, Json, Result


@final
class Local(Pool):
    """Worker processes that speak JSON lines over pipes; a process that dies is replaced, and dies with its driver.

    `slots` is how many run at once (`auto`: as the cores, and the devices where `gpus` is set, allow). An attempt uses
    `cpus` cores (the setup's threads unless given) and `gpus` of the visible devices: below 1, attempts share one; with
    0 all see all of them. An attempt that exceeds the setup's time limit by `grace` seconds is killed with its worker.
    """

    def __init__(
        self,
        setup: Setup,
        slots: int | Literal["auto"] = "auto",
        cpus: int | None = None,
        gpus: float = 0,
        grace: float = 5.0,
    ) -> None:
        setup = setup if cpus is None else replace(setup, threads=max(1, cpus))
        self._setup = setup
        self._grace = grace
        self._selector = selectors.DefaultSelector()
        shares = device_shares(visible_devices(), gpus) if gpus else []
        cores = max(1, (os.cpu_count() or 1) // setup.threads)
        count = slots if slots != "auto" else min(cores, len(shares)) if gpus else cores
        if count < 1 or (gpus and count > len(shares)):
            room = (
                f"room for {len(shares)} at {gpus:g} of its {len(visible_devices())} GPUs each" if gpus else "1 or more"
            )
            raise UserError(f"slots is {slots}, but this machine offers {room}: change slots or gpus of the pool")
        first = json.dumps(setup.json())
        self._workers = [_Worker(first, shares[i] if gpus else None) for i in range(count)]
        self._events: list[Event] = [Slots(count)]
        for worker in self._workers:
            self._start(worker)

    @property
    def free(self) -> int:
        return len(self._workers) - self.busy

    @property
    def busy(self) -> int:
        return sum(worker.running is not None for worker in self._workers)

    def submit(self, attempt: Attempt) -> None:
        worker = next(worker for worker in self._workers if worker.running is None)
        if worker.process is None or worker.process.poll() is not None:
            self._stop(worker)
            self._start(worker)
        worker.send(attempt)

    def wait(self, timeout: float = 1.0) -> list[Event]:
        if not self._workers:
            return []
        now = time.monotonic()
        ends = [end for worker in self._workers if (end := self._end(worker)) is not None]
        pause = 0.0 if self._events else max(0.0, min([timeout, *(end - now for end in ends)]))
        for key, _ in self._selector.select(pause):
            self._hear(key.data)
        now = time.monotonic()
        for worker in self._workers:
            self._watch(worker, now)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        for worker in self._workers:
            self._stop(worker)
            worker.forget()
        self._selector.close()
        self._workers, self._events = [], []

    def _hear(self, worker: _Worker) -> None:
        for kind, body in worker.read():
            if kind == "result" and worker.running is not None:
                self._events += worker.running.progress(time.monotonic())
                worker.running = None
                self._events.append(Result.from_json(body))
            elif kind == "progress" and worker.running is not None:
                worker.running.hear(body[2], body[3])
            elif kind == "ready":
                worker.ready = True
                if worker.running is not None:
                    worker.running.since = time.monotonic()  # its time begins when the worker can begin
            elif kind == "broken":
                raise UserError(f"a worker cannot start: {body}")

    def _watch(self, worker: _Worker, now: float) -> None:
        """See whether the worker is dead or late, and pass on what it reported."""
        if worker.process is None:
            return
        if worker.process.poll() is not None:
            self._hear(worker)
            code, restart = worker.process.returncode, worker.ready
            if worker.running is not None:
                self._events.append(worker.running.lost(now, f"its worker died ({_cause(code)}){worker.last_words()}"))
            self._stop(worker)
            if restart:
                self._start(worker)
            return
        if worker.running is None:
            return
        self._events += worker.running.progress(now)
        limit, end = self._setup.limit(worker.running.attempt.trial), self._end(worker)
        if limit is not None and end is not None and now > end:
            self._events.append(worker.running.overdue(now, limit))
            self._stop(worker)
            self._start(worker)

    def _end(self, worker: _Worker) -> float | None:
        """When what the worker runs will be killed, in the driver's monotonic seconds; None for never."""
        if worker.running is None or not worker.ready:
            return None
        limit = self._setup.limit(worker.running.attempt.trial)
        return None if limit is None else worker.running.since + limit + self._grace

    def _start(self, worker: _Worker) -> None:
        self._selector.register(worker.start(), selectors.EVENT_READ, worker)

    def _stop(self, worker: _Worker) -> None:
        if worker.process is not None and worker.process.stdout is not None:
            self._selector.unregister(worker.process.stdout.fileno())
        worker.stop()


@final
class _Worker:
    """One slot: a process, what it runs, and the bytes of it that are not yet a line."""

    def __init__(self, setup: str, devices: str | None) -> None:
        self._setup = setup
        self._devices = devices
        self._rest = b""
        self._log, path = tempfile.mkstemp(prefix="cellwright-")
        Path(path).unlink()  # the descriptor is enough
        self.process: subprocess.Popen[bytes] | None = None
        self.running: Running | None = None
        self.ready = False

    def start(self) -> int:
        """Start the process; gives the descriptor that it answers on."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers.pools.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(self._devices),
            start_new_session=True,  # a Ctrl-C is the driver's to interpret, and the group is killed as a whole
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._say(self._setup)
        return self.process.stdout.fileno()

    def send(self, attempt: Attempt) -> None:
        os.ftruncate(self._log, 0)
        os.lseek(self._log, 0, os.SEEK_SET)  # which moves where the process writes, too
        self.running = Running(attempt, time.monotonic())
        self._say(json.dumps(attempt.json()))

    def _say(self, line: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead, which the next `wait` sees
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def read(self) -> list[tuple[str, Json]]:
        """The messages that have arrived in full."""
        assert self.process is not None
        assert self.process.stdout is not None
        chunks = [self._rest]
        with suppress(BlockingIOError):
            while chunk := os.read(self.process.stdout.fileno(), 1 << 20):
                chunks.append(chunk)
        *lines, self._rest = b"".join(chunks).split(b"\n")
        return [next(iter(json.loads(line).items())) for line in lines]

    def last_words(self) -> str:
        """The last line of what the process wrote to standard error."""
        size = os.lseek(self._log, 0, os.SEEK_END)
        lines = os.pread(self._log, 2000, max(0, size - 2000)).decode(errors="replace").strip().splitlines()
        return f": {lines[-1][:300]}" if lines else ""

    def stop(self) -> None:
        """Kill the process and all it started; harmless when it is already dead."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                with suppress(BrokenPipeError):
                    stream and stream.close()
        self.process, self.running, self.ready, self._rest = None, None, False, b""

    def forget(self) -> None:
        """Drop what the process wrote to standard error."""
        os.close(self._log)


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _environment(devices: str | None) -> Mapping[str, str]:
    """The driver's environment, in which this package is found first, whatever else is called `workers`."""
    here = str(Path(__file__).parents[2])
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    ours = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **ours, **({} if devices is None else {"CUDA_VISIBLE_DEVICES": devices})}


def visible_devices() -> list[str]:
    """The GPUs that this process may use, by number or name, without asking a driver library."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [device for device in chosen.split(",") if device]
    return [str(i) for i, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").glob("*")))]


def device_shares(devices: Sequence[str], gpus: float) -> list[str]:
    """What each slot sees: groups of `gpus` devices, or each device as often as `gpus` goes into one."""
    if gpus < 1:
        return [device for _ in range(int(1 / gpus + 1e-9)) for device in devices]
    if gpus != int(gpus):
        raise UserError(
            f"gpus is {gpus:g}, but must be a fraction below 1 or a whole number: an attempt gets whole ones"
        )
    size = int(gpus)
    return [",".join(devices[i : i + size]) for i in range(0, len(devices) - size + 1, size)]
