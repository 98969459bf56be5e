"""Actor: what runs inside a worker of the Ray cluster; needs no torch, and of Ray only to know where it is."""

from __future__ import annotations

import json
from collections import deque
from typing import final

from workers import draining
from workers.errors import UserError, in_words
from workers.invitation import enter
from workers.line_process import encode
from workers.pool import Progress
from workers.pools.process import answer, open_workshop
from workers.setup import Setup
from workers.trial import Attempt, Json
from workers.workshop import Workshop

PROGRESS = "progress"  # the concurrency group in which an actor tells of its progress while it trains
LAST_WISH = 2.0  # seconds that an actor gets to tell of its progress before it is killed


@final
class Actor:
    """A workshop behind calls that take and give JSON.

    Progress is asked for rather than sent: a call in a concurrency group of its own costs the calls that train
    nothing measurable (3,100 against 3,100 per second on two cores), needs no further process, and no address of the
    driver.
    """

    def __init__(self, setup: str) -> None:
        self._broken = ""
        self._workshop: Workshop | None = None
        self._told: deque[Progress] = deque()
        self._asked = False
        try:
            told = Setup.from_json(json.loads(setup))
            enter(told)
            self._workshop = open_workshop(told)
        except Exception as failure:
            self._broken = str(failure) if isinstance(failure, UserError) else in_words(failure)

    def where(self) -> str:
        """The id of the node that this is on."""
        import ray

        node: str = ray.get_runtime_context().get_node_id()
        return node

    def ready(self) -> str:
        """Empty once attempts can come, or why there is no workshop."""
        return self._broken

    def run(self, attempt: str) -> str:
        """The result of an attempt; with the epochs that were not asked for, if it was ever asked.

        And with `leaving` where this actor is to run nothing more.
        """
        assert self._workshop is not None
        self._told.clear()
        self._asked = False
        result = answer(self._workshop, Attempt.from_json(json.loads(attempt)), self._told.append)
        leaving = self._workshop.leaving
        if not self._asked and not leaving:
            return result
        return encode({**json.loads(result), "curve": self._take(), "leaving": leaving})

    def progress(self) -> str:
        """The epochs since the last question: lists of trial, attempt, epoch and metrics.

        Raises `MemoryError` where what runs takes too much and does not stop.
        """
        if self._workshop is not None and (said := self._workshop.memory.ignored):
            raise MemoryError(said)
        self._asked = True
        return encode(self._take())

    def drain(self) -> None:
        """End what runs after its epoch, its state kept, and run nothing more: this node is going away."""
        draining.begin()

    def _take(self) -> list[Json]:
        taken: list[Json] = []
        while self._told:
            progress = self._told.popleft()
            taken.append([progress.trial_id, progress.attempt, progress.epoch, dict(progress.metrics)])
        return taken
