"""Bulkhead: threads of their own for answers that may take long, so that they keep no other page waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar, final

from nas.dashboard.refusal import Refusal

PATIENCE = 30.0  # seconds after which who asked is answered
T = TypeVar("T")


@final
class Bulkhead:
    """At most `threads` calls at once, and `waiting` behind them; who comes then, or waits too long, is told so (503).

    A call whose asker has been answered goes on where it has begun, and keeps its thread until it ends: what hangs
    for ever takes this room and no other, and no ending of the process waits for it.
    """

    def __init__(self, what: str, threads: int, waiting: int, patience: float = PATIENCE) -> None:
        self.what, self.threads, self.room, self.patience = what, threads, threads + waiting, patience
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = Lock()
        self._taken = self._started = 0

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` gives; what it raises; Refusal where there is no room, or it takes longer than the patience."""
        future = self._enter(call)
        found = asyncio.wrap_future(future)
        done, _ = await asyncio.wait([found], timeout=self.patience)
        if not done:
            begun = not future.cancel()
            found.cancel()
            raise self._refusal("takes long, and goes on" if begun else "has to wait for others")
        return found.result()

    def _enter(self, call: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._taken >= self.room:
                raise self._refusal("is asked for too often")
            self._taken += 1
            if self._started < min(self.threads, self._taken):
                self._started += 1
                Thread(target=self._serve, name=f"dashboard-{self._started}", daemon=True).start()
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def _serve(self) -> None:
        while True:
            future, call = self._calls.get()
            if not future.set_running_or_notify_cancel():
                self._leave()
                continue
            try:
                found = call()
            except BaseException as error:  # whoever asked gets it
                self._leave()
                future.set_exception(error)
            else:
                self._leave()
                future.set_result(found)

    def _leave(self) -> None:
        """Give the room back, before the answer is: who has that may ask again at once."""
        with self._lock:
            self._taken -= 1

    def _refusal(self, why: str) -> Refusal:
        return Refusal(503, "Please wait", f"{self.what} {why}: look again in a moment.")
