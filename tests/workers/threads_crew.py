"""A crew of threads over a store in this process, which may be slow, come late, and die."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, final

from parameter_server.store import Store
from workers.batches import Batches
from workers.data_parallel.crew import Crew, Word
from workers.data_parallel.dealer import Deal
from workers.data_parallel.member import Member


class Death(BaseException):
    """What a worker dies of."""


@final
class Threads(Crew):
    """`before(slot, attempt, deal)` is called before a batch and `after` when it counts; either may wait or raise.

    `late(slot)` is called before a worker joins.
    """

    def __init__(
        self,
        store: Store,
        batches: Callable[[], Batches],
        before: Callable[[int, int, Deal], None] = lambda *_: None,
        after: Callable[[int, int, Deal], None] = lambda *_: None,
        late: Callable[[int], object] = lambda slot: None,
    ) -> None:
        self.store, self.batches, self.before, self.after, self.late = store, batches, before, after, late
        self._heard: SimpleQueue[Word] = SimpleQueue()
        self._told: dict[int, SimpleQueue[Any]] = {}
        self._threads: list[Thread] = []

    def start(self, slot: int, attempt: int) -> None:
        told = self._told[slot] = SimpleQueue()
        thread = Thread(target=self._serve, args=(slot, attempt, told))
        thread.start()
        self._threads.append(thread)

    def say(self, slot: int, message: Any) -> None:
        self._told[slot].put(message)

    def wait(self, timeout: float) -> list[Word]:
        try:
            return [self._heard.get(timeout=timeout)]
        except Empty:
            return []

    def close(self) -> None:
        for told in self._told.values():
            told.put("end")
        for thread in self._threads:
            thread.join()

    def _serve(self, slot: int, attempt: int, told: SimpleQueue[Any]) -> None:
        try:
            self.late(slot)
            member = Member(self.store, slot, attempt, self.batches())
            self._heard.put(Word(slot, "ready", member.join()))
            while (message := told.get()) != "end":
                if message is None:
                    member.rest()
                    continue
                deal = Deal(**message)
                self.before(slot, attempt, deal)
                learned = member.learn(deal)
                self.after(slot, attempt, deal)
                self._heard.put(Word(slot, "learned", learned.json()))
        except Death as death:
            self._heard.put(Word(slot, "died", str(death)))
        except Exception as error:
            self._heard.put(Word(slot, "diverged" if "loss" in str(error) else "broken", str(error)))
