"""Crew: calls to several shards at once: those of one process in turn, different processes in threads that are kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from threading import Lock
from typing import TypeVar, final

from parameter_server.link import Link
from parameter_server.store import FencedError, UnreachableError

Result = TypeVar("Result")

# One push may wait on a shard for a push of another thread, so a thread must always be had for it.
_UNLIMITED = 1 << 16


@final
class Crew:
    """Who calls the shards that `links` lead to; with `threads` false all is done by whoever asks."""

    def __init__(self, links: Sequence[Link], threads: bool) -> None:
        self._processes = [link.process for link in links]
        self._lanes: list[object] = [
            (shard if process is None else (process,)) if threads else 0
            for shard, process in enumerate(self._processes)
        ]
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._owner = os.getpid()

    def lanes(self, shards: Iterable[int]) -> list[list[int]]:
        """Shards of one process together."""
        lanes: dict[object, list[int]] = {}
        for shard in shards:
            lanes.setdefault(self._lanes[shard], []).append(shard)
        return list(lanes.values())

    def attempt(
        self,
        shards: Iterable[int],
        call: Callable[[list[int]], Iterable[Result]],
        begin: Callable[[list[int]], Callable[[], Iterable[Result]] | None] = lambda _: None,
    ) -> dict[int, Result]:
        """What `call` gives for the shards of each process; raises the gravest error, when all calls have ended.

        `begin` begins such a call, and gives what ends it, or None where it would take a while. When it begins all,
        the thread that asks ends them too; else it calls the last process, and other threads the others.
        """
        lanes = self.lanes(shards)
        begun = [begin(lane) for lane in lanes] if len(lanes) > 1 else []
        calls = [end or partial(call, lane) for end, lane in zip_longest(begun, lanes)]
        if len(lanes) < 2 or all(begun):
            results = [_attempt(one) for one in calls]
        else:
            pool = self._begun()
            futures = [pool.submit(_attempt, one) for one in calls[:-1]]
            last = _attempt(calls[-1])
            results = [*(future.result() for future in futures), last]
        raise_worst(results)
        taken: dict[int, Result] = {}
        for lane, result in zip(lanes, results, strict=True):
            if not isinstance(result, Exception):
                taken.update(zip(lane, result, strict=True))
        return taken

    def each(self, shards: Sequence[int], call: Callable[[int], Result], brief: bool = False) -> list[Result]:
        """What `call` gives for each shard, in their order; raises the gravest error, when all have been called.

        `brief` calls take less time than a thread does to begin with them.
        """

        def every(lane: list[int]) -> list[Result]:
            return tried(call, lane, self._processes[lane[0]] is not None)

        taken = self.attempt(shards, every, lambda lane: partial(every, lane) if brief else None)
        return [taken[shard] for shard in shards]

    def close(self) -> None:
        self._notice_fork()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _notice_fork(self) -> None:
        """Forget threads that are another process's: a fork has none of them, and would wait for them for ever."""
        if os.getpid() != self._owner:
            self._owner, self._pool, self._lock = os.getpid(), None, Lock()

    def _begun(self) -> ThreadPoolExecutor:
        self._notice_fork()
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_UNLIMITED, "shards")
            return self._pool


def tried(call: Callable[[int], Result], shards: Iterable[int], together: bool = False) -> list[Result]:
    """One call after the other; raises the gravest error, when all have been called.

    Shards that are `together` in one process: when one does not answer, which takes all its time, nor will the others.
    """
    results: list[Result | Exception] = []
    for shard in shards:
        try:
            results.append(call(shard))
        except Exception as error:
            results.append(error)
            if together and isinstance(error, UnreachableError) and error.outcome is None:
                break
    raise_worst(results)
    return [result for result in results if not isinstance(result, Exception)]


def _attempt(call: Callable[[], Iterable[Result]]) -> Iterable[Result] | Exception:
    try:
        return call()
    except Exception as error:
        return error


def raise_worst(results: Iterable[object]) -> None:
    """Raise the gravest exception among results: fenced off before refused, refused before unreachable."""
    errors = [result for result in results if isinstance(result, Exception)]
    if errors:
        raise min(errors, key=lambda error: (not isinstance(error, FencedError), isinstance(error, UnreachableError)))
