"""Crew: the workers of a training that workers share, as their coordinator sees them."""

from __future__ import annotations

import json
import selectors
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, final

from workers.data_parallel.parallel_training import ParallelTraining
from workers.line_process import LineProcess, encode
from workers.trial import Json


@final
class Word(NamedTuple):
    """What is heard of a worker: `ready`, `learned` or `broken` is its own word, `died` is said of it."""

    slot: int
    kind: str
    body: Json


class Crew(ABC):
    """Workers in slots."""

    @abstractmethod
    def start(self, slot: int, attempt: int) -> None:
        """Begin a worker, in the place of one that died."""

    @abstractmethod
    def say(self, slot: int, message: Json) -> None:
        """Tell a worker to learn a batch, or to rest (None)."""

    @abstractmethod
    def wait(self, timeout: float) -> list[Word]:
        """What was heard within so many seconds."""

    @abstractmethod
    def close(self) -> None:
        """End all workers."""


@final
class Processes(Crew):
    """A process of this machine for every slot."""

    def __init__(self, training: ParallelTraining, store: Path) -> None:
        self._told = {"training": training.json(), "store": str(store)}
        self._processes = [LineProcess(["-m", "workers.data_parallel.process"]) for _ in range(training.slots)]
        self._selector = selectors.DefaultSelector()

    def start(self, slot: int, attempt: int) -> None:
        self._stop(slot)
        first = encode({**self._told, "slot": slot, "attempt": attempt})
        self._selector.register(self._processes[slot].start(first), selectors.EVENT_READ, slot)

    def say(self, slot: int, message: Json) -> None:
        self._processes[slot].say(json.dumps(message))

    def wait(self, timeout: float) -> list[Word]:
        heard: list[Word] = []
        for key, _ in self._selector.select(timeout):
            slot: int = key.data
            process = self._processes[slot]
            cause = process.cause()  # before reading, so that nothing that it said is missed
            heard += [Word(slot, kind, body) for kind, body in process.read()]
            if cause is not None:
                heard.append(Word(slot, "died", cause + process.last_words()))
                self._stop(slot)
        return heard

    def pids(self) -> Sequence[int | None]:
        """The processes' numbers, None where one is not running."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
        for slot, process in enumerate(self._processes):
            self._stop(slot)
            process.forget()
        self._selector.close()

    def _stop(self, slot: int) -> None:
        process = self._processes[slot]
        if process.running:
            self._selector.unregister(process.descriptor)
        process.stop()
