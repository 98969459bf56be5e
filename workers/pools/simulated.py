"""Simulated: any number of slots in virtual time, inside the driver."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import TypeAlias, final

from workers.errors import UserError
from workers.objectives import Outcome
from workers.plugins import load
from workers.pool import Event, Pool, Progress, Slots
from workers.setup import Setup
from workers.trial import Attempt, Result
from workers.workshop import Workshop

Answer: TypeAlias = Callable[[Attempt], Result]


@final
class Simulated(Pool):
    """Attempts take the seconds that their results say, and `now` jumps from event to event; nothing is random.

    `answer` (a callable, or `package.module:name`) gives the result of an attempt, from a published table, say; without
    it the setup's task runs in this process, and a metric `seconds` that it yields is how long it took. At each time in
    `deaths` the worker that has been at its attempt for longest dies and is replaced. Ties go to what was submitted
    first.
    """

    def __init__(
        self, setup: Setup, slots: int = 1, answer: Answer | str | None = None, deaths: Sequence[float] = ()
    ) -> None:
        if slots < 1:
            raise UserError(f"slots is {slots}, but must be at least 1")
        self.now = 0.0
        self._slots = slots
        self._limit = setup.limit
        self._answer = load("workers.tasks", answer, object) if isinstance(answer, str) else answer
        self._workshop = Workshop(setup) if answer is None else None
        self._running: dict[int, Attempt] = {}
        self._heap: list[tuple[float, int, int, Event | None]] = []  # time, order, number of the submission, event
        self._order = count()
        self._events: list[Event] = [Slots(slots)]
        for death in deaths:
            self._push(death, -1, None)

    @property
    def free(self) -> int:
        return self._slots - len(self._running)

    @property
    def busy(self) -> int:
        return len(self._running)

    def submit(self, attempt: Attempt) -> None:
        number = next(self._order)
        self._running[number] = attempt
        reports: list[Progress] = []
        result = self._run(attempt, reports)
        step = result.seconds / max(1, len(reports))
        limit = self._limit(attempt.trial)
        late = limit is not None and result.seconds > limit
        if late and limit is not None:
            reports = [report for i, report in enumerate(reports, 1) if i * step <= limit]
            result = _cut(result, limit, reports)
        for i, report in enumerate(reports if late else reports[:-1], 1):
            self._push(self.now + i * step, number, report)
        self._push(self.now + result.seconds, number, result)

    def wait(self, timeout: float = 1.0) -> list[Event]:
        """The events of the next moment at which there are any; `timeout` is wall time, of which none passes."""
        events, self._events = self._events, []
        while not events and self._running and self._heap:
            moment = self._heap[0][0]
            while self._heap and self._heap[0][0] == moment:
                self._pop(events)
        return events

    def close(self) -> None:
        self._slots = 0
        self._running.clear()
        self._heap.clear()
        self._events.clear()
        if self._workshop is not None:
            self._workshop.close()

    def _run(self, attempt: Attempt, reports: list[Progress]) -> Result:
        if self._answer is not None:
            return self._answer(attempt)
        assert self._workshop is not None
        result = self._workshop.run(attempt, reports.append)
        return replace(result, seconds=float(result.metrics.get("seconds", result.seconds)))

    def _push(self, moment: float, number: int, event: Event | None) -> None:
        heapq.heappush(self._heap, (moment, next(self._order), number, event))

    def _pop(self, events: list[Event]) -> None:
        """Let the next thing on the heap happen; what belongs to a worker that died meanwhile does not."""
        self.now, _, number, event = heapq.heappop(self._heap)
        if event is None and self._running:
            number = min(self._running)
            attempt = self._running[number]
            error = "its worker died (simulated)"
            event = Result(attempt.trial.id, attempt.number, Outcome.LOST, error=error)
        if event is None or number not in self._running:
            return
        if isinstance(event, Result):
            del self._running[number]
        events.append(event)


def _cut(result: Result, limit: float, reports: Sequence[Progress]) -> Result:
    """`result` as it is when the attempt is ended at its time limit."""
    error = f"it ran longer than its time limit of {limit:g} s"
    metrics = reports[-1].metrics if reports else {}
    return replace(
        result,
        outcome=Outcome.FAILED,
        metrics=metrics,
        epochs=len(reports),
        seconds=limit,
        error=error,
        checkpoint=None,
    )
