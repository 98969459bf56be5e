"""Crew: calls to several shards at once, in threads that are kept; or one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar, final

from parameter_server.store import FencedError, UnreachableError

Result = TypeVar("Result")

# One push may wait on a shard for a push of another thread, so a thread must always be had for it.
_UNLIMITED = 1 << 16


@final
class Crew:
    """Threads for calls that wait for other processes; with `threads` false all is done by whoever asks."""

    def __init__(self, threads: bool) -> None:
        self._threads = threads
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None

    def attempt(self, calls: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
        """What each call gave or raised, when all have ended; the last one runs in the thread that asks."""
        if not calls:
            return []
        *others, mine = calls
        if not self._threads or not others:
            return [_attempt(call) for call in calls]
        pool = self._begun()
        futures = [pool.submit(_attempt, call) for call in others]
        last = _attempt(mine)
        return [*(future.result() for future in futures), last]

    def each(self, calls: Sequence[Callable[[], Result]]) -> list[Result]:
        """What each call gave; raises what matters most of what was raised."""
        results = self.attempt(calls)
        raise_worst(results)
        return [result for result in results if not isinstance(result, Exception)]

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _begun(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_UNLIMITED, "shards")
            return self._pool


def _attempt(call: Callable[[], Result]) -> Result | Exception:
    try:
        return call()
    except Exception as error:
        return error


def raise_worst(results: Sequence[object]) -> None:
    """Raise the gravest exception among results: fenced off before refused, refused before unreachable."""
    errors = [result for result in results if isinstance(result, Exception)]
    if errors:
        raise min(errors, key=lambda error: (not isinstance(error, FencedError), isinstance(error, UnreachableError)))
