"""Memory limit: what a worker may hold; a child that takes more is infeasible, its worker and neighbours live on."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread, get_ident
from typing import final

from workers import footprint
from workers.errors import UserError
from workers.size import shown

SAMPLE = 0.05  # seconds between two looks; a thread touches some 100 MB of fresh memory meanwhile
FAMILY = 1.0  # seconds between two looks for processes that the child has started
AGAIN = 0.5  # seconds until a child that goes on is told again
GRACE = 5.0  # seconds until one that goes on is given up with its worker
SLACK = 512 << 20  # bytes of address space that may be allocated and never touched: stacks, arenas


class ExceededError(MemoryError):
    """What is raised in a child from outside, between two of its Python instructions."""


@final
class MemoryLimit:
    """The bytes that this process and those it starts may hold, the idle worker's own included; None for any number."""

    def __init__(self, limit: int | None) -> None:
        if limit is not None and not footprint.known():
            raise UserError("the pool limits memory, which needs Linux: leave memory out")
        self.limit = limit
        self._resting = 0  # what this held before its first child
        self._exceeded = False  # by the last child
        self._watch: _Watch | None = None

    def check(self) -> None:
        """See what the worker holds before its first child; raise `UserError` where that is more already."""
        self._resting = footprint.held(os.getpid())
        if self.limit is not None and self._resting > self.limit:
            raise UserError(
                f"memory of the pool is {shown(self.limit)}, but a worker that has loaded its data and trained nothing "
                f"holds {shown(self._resting)}: give it more"
            )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What this thread does meanwhile is ended by a `MemoryError` where it takes too much."""
        if self.limit is None:
            yield
            return
        self._watch = watch = _Watch(self.limit)
        try:
            try:
                watch.begin()
                yield
            finally:
                try:
                    watch.end()
                except ExceededError:  # it was under way when the child ended, and comes wherever a function begins
                    watch.end()
        except Exception:  # what a child makes of being told is no other failure
            if not watch.found:
                raise
        finally:
            self._watch = None
        self._exceeded = watch.found > 0
        if self._exceeded:
            raise MemoryError(watch.said)

    @property
    def ignored(self) -> str:
        """What to say of a child that takes too much and goes on all the same; empty while there is none."""
        watch = self._watch
        return watch.said if watch is not None and watch.ignored else ""

    def worn(self) -> bool:
        """Whether children have left so much that this worker should be replaced; gives back what it can."""
        own = os.getpid()
        if self.limit is None or (footprint.held(own) <= self.limit / 2 and not self._exceeded):
            return False
        give_back()
        left = footprint.together(own, self.limit, footprint.offspring(own))
        return left > (self._resting + self.limit) / 2


@final
class _Watch:
    """Looks at the memory of this process from a thread of its own, and bounds what one allocation can take.

    `RLIMIT_DATA` (getrlimit(2), private writable memory since Linux 4.7) stops what is too large to be waited for: it
    counts address space, which may exceed what is touched, so that it is far above the limit.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.found = 0  # bytes, the first time that it was too much
        self._since = 0.0
        self._child = get_ident()
        self._over = Event()
        self._telling = Lock()
        self._thread = Thread(target=self._run, name="memory limit", daemon=True)
        self._bounds = resource.getrlimit(resource.RLIMIT_DATA)

    @property
    def said(self) -> str:
        return f"it held {shown(self.found)}, and its worker's limit is {shown(self.limit)}"

    @property
    def ignored(self) -> bool:
        """Whether the child has gone on for too long."""
        return self._since > 0 and time.monotonic() - self._since > GRACE

    def begin(self) -> None:
        if not _uses_cuda():  # whose driver reserves as much address space as it likes
            room = footprint.data(os.getpid()) + self.limit + SLACK
            hard = self._bounds[1]
            self._bound(room if hard == resource.RLIM_INFINITY else min(room, hard))
        self._thread.start()

    def end(self) -> None:
        """Tell the child nothing more, and bound nothing; may be called twice, and where `begin` has failed."""
        with self._telling:
            self._over.set()
            _raise(self._child, None)
        self._bound(self._bounds[0])
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        own, relatives, look_at, tell_at, pause = os.getpid(), list[int](), 0.0, 0.0, 0.0
        while not self._over.wait(pause):
            started = time.monotonic()
            if started >= look_at:
                relatives = footprint.offspring(own)
                look_at = started + max(FAMILY, 50 * (time.monotonic() - started))
            total = footprint.together(own, self.limit, relatives)
            now = time.monotonic()
            pause = max(SAMPLE, 5 * (now - started))
            if total <= self.limit:
                self._since = 0.0
            elif now >= tell_at:
                self._tell(total, now)
                tell_at = now + AGAIN

    def _tell(self, total: int, now: float) -> None:
        with self._telling:
            if not self._over.is_set():
                self.found = self.found or total
                self._since = self._since or now
                _raise(self._child, ExceededError)

    def _bound(self, room: int) -> None:
        with suppress(OSError, ValueError):  # a container may forbid it
            resource.setrlimit(resource.RLIMIT_DATA, (room, self._bounds[1]))


def give_back() -> None:
    """Let the host have what this process has freed."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def _raise(thread: int, error: type[BaseException] | None) -> None:
    """Raise `error` in `thread` when it next comes to Python code; None takes back what it has not come to."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )


def _uses_cuda() -> bool:
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda is not None and bool(cuda.is_initialized())
