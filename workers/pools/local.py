"""Local: processes of this machine, one per slot."""

from __future__ import annotations

import json
import os
import selectors
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

from workers.errors import UserError
from workers.line_process import LineProcess, encode
from workers.pool import Event, Pool, Slots
from workers.pools.guard import STOOD_STILL, Census, Guard
from workers.pools.running import Running
from workers.setup import Setup
from workers.trial import Attempt, Result


@final
class Local(Pool):
    """Worker processes that speak JSON lines over pipes; a process that dies is replaced, and dies with its driver.

    `slots` is how many run at once (`auto`: as the cores, and the devices where `gpus` is set, allow). An attempt uses
    `cpus` cores (the setup's threads unless given) and `gpus` of the visible devices: below 1, attempts share one; with
    0 all see all of them. An attempt whose worker holds more than `memory` (bytes, or text such as `2 GB`; Linux) is
    infeasible. One that exceeds the setup's time limit, or its memory, by `grace` seconds is killed with its worker, as
    is a worker that was stopped (SIGSTOP) for `FROZEN` seconds.
    """

    def __init__(
        self,
        setup: Setup,
        slots: int | Literal["auto"] = "auto",
        cpus: int | None = None,
        gpus: float = 0,
        memory: int | str | None = None,
        grace: float = 5.0,
    ) -> None:
        setup = setup.given(cpus, memory)
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
        guard = Guard(setup.memory, grace, Census())
        self._workers = [_Worker(first, shares[i] if gpus else None, guard) for i in range(count)]
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
        if not worker.process.running or worker.process.cause() is not None:
            self._replace(worker)
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
            worker.process.forget()
        self._selector.close()
        self._workers, self._events = [], []

    def _hear(self, worker: _Worker) -> None:
        for kind, body in worker.process.read():
            if kind == "result" and worker.running is not None:
                self._events += worker.running.progress(time.monotonic())
                worker.running = None
                self._events.append(Result.from_json(body))
                if worker.leaving:
                    self._replace(worker)
            elif kind == "progress" and worker.running is not None:
                worker.running.hear(body[2], body[3])
            elif kind == "ready":
                worker.ready, worker.guard = True, worker.guard.afresh()
                if worker.running is not None:
                    worker.running.since = time.monotonic()  # its time begins when the worker can begin
            elif kind == "leaving":
                worker.leaving = True
                if worker.running is None:
                    self._replace(worker)
            elif kind == "broken":
                raise UserError(f"a worker cannot start: {body}")

    def _watch(self, worker: _Worker, now: float) -> None:
        """See whether the worker is dead or late, and pass on what it reported."""
        if (cause := worker.process.cause()) is not None:
            self._hear(worker)
            if worker.process.cause() is None:
                return  # it left, and has been replaced
            restart = worker.ready
            if worker.running is not None and worker.leaving:
                self._events.append(worker.running.returned("its worker ended before it began"))
            elif worker.running is not None:
                self._events.append(worker.running.lost(now, f"its worker died ({cause}){worker.process.last_words()}"))
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
            self._replace(worker)
        elif worker.process.pid is not None and (why := worker.guard.look(worker.process.pid, now)) is not None:
            frozen = why == STOOD_STILL
            if frozen or worker.ready:  # what loading its data takes is not the attempt's, and the worker judges it
                running = worker.running
                self._events.append(running.lost(now, why) if frozen else running.exceeded(now, why))
                self._replace(worker)

    def _end(self, worker: _Worker) -> float | None:
        """When what the worker runs will be killed, in the driver's monotonic seconds; None for never."""
        if worker.running is None or not worker.ready:
            return None
        limit = self._setup.limit(worker.running.attempt.trial)
        return None if limit is None else worker.running.since + limit + self._grace

    def _start(self, worker: _Worker) -> None:
        self._selector.register(worker.start(), selectors.EVENT_READ, worker)

    def _replace(self, worker: _Worker) -> None:
        self._stop(worker)
        self._start(worker)

    def _stop(self, worker: _Worker) -> None:
        if worker.process.running:
            self._selector.unregister(worker.process.descriptor)
        worker.stop()


@final
class _Worker:
    """One slot: a process, and what it runs."""

    def __init__(self, setup: str, devices: str | None, guard: Guard) -> None:
        self._setup = setup
        self._devices = devices
        self.guard = guard
        self.process = LineProcess(["-m", "workers.pools.process"])
        self.running: Running | None = None
        self.ready = False
        self.leaving = False

    def start(self) -> int:
        """Start the process; gives the descriptor that it answers on."""
        return self.process.start(self._setup, self._devices)

    def send(self, attempt: Attempt) -> None:
        self.process.hush()
        self.running = Running(attempt, time.monotonic())
        self.guard = self.guard.afresh()
        self.process.say(encode(attempt.json()))

    def stop(self) -> None:
        """Kill the process and all it started; harmless when it is already dead."""
        self.process.stop()
        self.running, self.ready, self.leaving = None, False, False


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
