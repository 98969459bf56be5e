"""Ray: long-lived actors of a Ray cluster, one per slot, reused between trials."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, final

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from workers.errors import UserError
from workers.line_process import encode
from workers.objectives import Outcome
from workers.pool import Event, Notice, Pool, Slots
from workers.pools.actor import LAST_WISH
from workers.pools.answers import arrived
from workers.pools.footing import Footing
from workers.pools.leased import AUTO
from workers.pools.reason import in_a_line
from workers.pools.running import BRIEF, Running
from workers.pools.slots import Slot
from workers.pools.starts import Starts
from workers.pools.survey import Post, survey
from workers.pools.waiting import Waiting, lack
from workers.setup import Setup
from workers.trial import Attempt, Json, Result

SURVEY = 0.5  # seconds between two looks at what the lookout has found


@final
class Ray(Pool):
    """Actors, one per slot; an actor, node or raylet that dies costs its attempts (`lost`) and is replaced.

    `slots` is how many run at once, pending until the cluster has room; `auto` follows the cluster as nodes come and
    go. An attempt gets `cpus` (the setup's threads unless given) and `gpus`, which may be a fraction or several.
    `address` is the cluster's; without it, the environment variable RAY_ADDRESS, or else a cluster of this machine that
    ends with the pool. `depth` is how many attempts an actor holds: with more than the running one it does not idle
    between trials of milliseconds, but strategies decide earlier, and a crash repeats up to `depth` starts per slot. An
    attempt that exceeds the setup's time limit by `grace` seconds is killed with its actor; one whose actor holds more
    than `memory` (bytes, or text such as `2 GB`; Linux) is infeasible.

    On a cluster that it has joined it shares the slots with the other searches there, in proportion to their `weight`,
    and has at most `quota`. Who leases them is the `broker` of that name (`auto`: one for all on a cluster that is
    joined, none on a cluster of our own; `none`: take what is free).
    """

    def __init__(  # noqa: PLR0913 - each is an option of a job
        self,
        setup: Setup,
        slots: int | Literal["auto"] = "auto",
        cpus: float | None = None,
        gpus: float = 0,
        address: str | None = None,
        depth: int = 1,
        memory: int | str | None = None,
        grace: float = 5.0,
        quota: int | None = None,
        weight: float = 1.0,
        broker: str = AUTO,
    ) -> None:
        if slots != "auto" and slots < 1:
            raise UserError(f"slots is {slots}, but must be auto or at least 1")
        if depth < 1:
            raise UserError(f"depth is {depth}, but must be at least 1: an actor holds the attempt that it runs")
        if (quota is not None and quota < 1) or not 0 < weight < math.inf:
            raise UserError(f"quota is {quota} and weight {weight:g}, but must be at least 1, and above 0")
        setup = setup.given(cpus, memory)
        self._setup = setup
        self._grace = grace
        self._share = {"CPU": float(setup.threads if cpus is None else cpus), "GPU": float(gpus)}
        if min(self._share.values()) < 0 or not any(self._share.values()):
            raise UserError(f"cpus is {cpus} and gpus {gpus:g}, but none may be below 0, nor both be 0: name a share")
        self._fixed = None if slots == "auto" else slots
        self._terms = address, self._share, self._fixed, broker, (setup.search, weight, quota)
        self._record = json.dumps(setup.json())
        self._depth = depth
        self._slots: list[Slot] = []
        self._places: deque[Slot] = deque()  # each slot as often as it takes another attempt
        self._awaited: dict[Any, Slot] = {}  # a reference of Ray, and whose answer it is
        self._busy = 0
        self._closed = False
        self._events: list[Event] = []
        self._next_survey = self._next_poll = 0.0
        self._starts, self._waiting = Starts(), Waiting()
        self._footing = Footing(*self._terms)

    @property
    def free(self) -> int:
        return len(self._places)

    @property
    def busy(self) -> int:
        return self._busy

    def submit(self, attempt: Attempt) -> None:
        slot = self._places.popleft()
        reference = slot.actor.run.remote(encode(attempt.json()))
        slot.queue[reference] = Running(attempt, time.monotonic())
        self._awaited[reference] = slot
        self._busy += 1

    def wait(self, timeout: float = 1.0) -> list[Event]:
        if self._closed:
            return []
        now = time.monotonic()
        if now >= self._next_survey:
            self._survey(now)
        if now >= self._next_poll:
            self._poll(now)
        for reference, text in arrived(list(self._awaited), 0.0 if self._events else timeout, self._depth > 1):
            slot = self._awaited.pop(reference, None)
            if slot is not None:
                self._hear(slot, reference, text)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        if self._closed:
            return
        for slot in self._slots:
            ray.kill(slot.actor)
        self._slots, self._busy = [], 0
        self._places.clear()
        self._awaited.clear()
        self._events.clear()
        self._closed = True
        self._footing.leave()

    def _hear(self, slot: Slot, reference: Any, text: str | RayError) -> None:
        now = time.monotonic()
        if reference in slot.queue and not isinstance(text, RayError):
            self._finish(slot, reference, json.loads(text), now)
        elif reference in slot.queue and isinstance(text, RayTaskError):
            attempt = slot.queue[reference].attempt
            failed = Result(attempt.trial.id, attempt.number, Outcome.FAILED, error=str(text.cause))
            self._finish(slot, reference, failed.json(), now)
        elif reference == slot.asked and isinstance(text, RayTaskError) and isinstance(text.cause, MemoryError):
            slot.asked = None
            if slot.head is not None and slot.head is slot.about:  # otherwise it has ended meanwhile after all
                self._give_up(slot, slot.head.exceeded(now, str(text.cause)), now)
        elif isinstance(text, RayError):
            self._drop(slot, f"its worker died ({type(text).__name__})", now)
            if not slot.up:
                self._say(self._starts.died(in_a_line(text), now, len(self._slots)))
        elif reference == slot.asked:
            slot.asked = None
            self._report(slot, json.loads(text), now)
        elif reference == slot.located:
            slot.node = text
        elif text:
            raise UserError(f"a worker cannot start: {text}")
        else:
            slot.up = True
            self._starts.rose()
            self._recount()

    def _finish(self, slot: Slot, reference: Any, record: dict[str, Json], now: float) -> None:
        """The attempt that `reference` stands for has ended."""
        self._report(slot, record.pop("curve", ()), now)
        leaving = record.pop("leaving", False)
        del slot.queue[reference]
        if slot.head is not None:
            slot.head.since = now
        self._events.append(Result.from_json(record))
        self._busy -= 1
        if leaving or (slot.leaving and not slot.queue):
            self._drop(slot, "", now, idle=True)
        elif not slot.leaving:
            self._places.append(slot)

    def _report(self, slot: Slot, curve: Sequence[Json], now: float) -> None:
        """Pass on the epochs that the running attempt of `slot` told of."""
        running = slot.head
        if running is None:
            return
        for trial, number, epoch, metrics in curve:
            if (trial, number) == (running.attempt.trial.id, running.attempt.number):
                running.hear(epoch, metrics)
        self._events += running.progress(now)

    def _poll(self, now: float) -> None:
        """Ask the actors whose attempt is not a brief one for its progress, and end the attempts that are late."""
        self._next_poll = now + max(1.0, 0.01 * len(self._slots))
        late = list[tuple[Slot, float]]()
        for slot, running in [(slot, slot.head) for slot in self._slots if slot.head is not None]:
            seconds, limit = now - running.since, self._setup.limit(running.attempt.trial)
            if limit is not None and seconds > limit + self._grace:
                late.append((slot, limit))
            elif seconds > BRIEF and slot.asked is None:
                slot.asked = slot.ask()
                self._awaited[slot.asked] = slot
        if late:
            self._end(late, now)

    def _end(self, late: Sequence[tuple[Slot, float]], now: float) -> None:
        """Kill the actors of attempts that are over their time limit, having asked all at once for the last metrics."""
        wishes = [slot.ask() for slot, _ in late]
        ray.wait(wishes, num_returns=len(wishes), timeout=LAST_WISH)
        for (slot, limit), wish in zip(late, wishes, strict=True):
            with suppress(RayError, GetTimeoutError):  # it is deaf: what it told before must do
                self._report(slot, json.loads(ray.get(wish, timeout=0)), now)
            (reference, running), *_ = slot.queue.items()
            if not ray.wait([reference], timeout=0)[0]:  # otherwise it ended while this driver was busy, or stopped
                self._give_up(slot, running.overdue(now, limit), now)

    def _give_up(self, slot: Slot, result: Result, now: float) -> None:
        """Kill the actor of an attempt that goes on, and say how it ended."""
        del slot.queue[next(iter(slot.queue))]
        self._busy -= 1
        self._events.append(result)
        self._drop(slot, "", now, idle=True)

    def _survey(self, now: float) -> None:
        """Do about our slots what the lookout's last look asks for."""
        self._next_survey = now + SURVEY
        if self._footing.abandoned(now):
            self._begin_anew(now)
        cluster, allowance = self._footing.cluster, self._footing.allowance
        slots = list(self._slots)
        posts = [Post(i, one.node, one.up, len(one.queue), one.leaving, one.shunned) for i, one in enumerate(slots)]
        do = survey(posts, cluster, self._share, self._fixed, allowance)
        for place in do.lost:
            self._drop(slots[place], "its node is gone", now)
        for place in (*do.drained, *do.leaving):
            slots[place].leaving = True
        for place in do.staying:
            slots[place].leaving = False
        for place in do.drained:
            slots[place].drain()
        for place in do.dismissed:
            self._drop(slots[place], "", now, idle=True)
        if do.hires and self._footing.hires(now):
            for _ in range(self._starts.allowed(do.hires, now)):
                self._hire()
        if do.drained or do.leaving or do.staying:
            self._recount()
        self._footing.demand(do.demand, self._share)
        up = sum(slot.up for slot in self._slots)
        if not do.hires and up >= min(len(self._slots), cluster.room(self._share)):
            self._say(self._starts.settle())
        if up:
            self._say(self._waiting.over(now))
        else:
            self._say(self._waiting.goes_on(lack(cluster, self._share, allowance.lack()), now))

    def _say(self, text: str) -> None:
        if text:
            self._events.append(Notice(text))

    def _hire(self) -> None:
        slot = Slot(self._record, self._share, self._footing.cluster.silent)
        self._slots.append(slot)
        self._awaited[slot.located] = slot
        self._awaited[slot.actor.ready.remote()] = slot

    def _begin_anew(self, now: float) -> None:
        """Start our cluster again, or join again."""
        for slot in list(self._slots):
            self._drop(slot, "the raylet of this machine died", now, end=False)  # by a head that may be dead
        self._footing.leave()
        self._footing = Footing(*self._terms)
        self._say("a process of the Ray cluster on this machine died: begun anew, and what ran is issued again")

    def _drop(self, slot: Slot, error: str, now: float, idle: bool = False, end: bool = True) -> None:
        """Give an actor up; one that had come up is replaced at the next turn, any other at the next survey.

        Unless it was `idle` its first attempt is lost; the others had not begun.
        """
        if slot not in self._slots:
            return
        if end:
            ray.kill(slot.actor)
        self._slots.remove(slot)
        self._awaited = {reference: other for reference, other in self._awaited.items() if other is not slot}
        lost = 0 if idle else 1
        held = list(slot.queue.values())
        self._events += [running.lost(now, error) for running in held[:lost]]
        self._events += [running.returned("its worker ended before it began") for running in held[lost:]]
        self._busy -= len(slot.queue)
        if slot.up:
            self._next_survey = now
            self._recount()

    def _recount(self) -> None:
        """List the places anew, the emptiest slots first, and say how many slots there are."""
        up = [slot for slot in self._slots if slot.up and not slot.leaving]
        self._places = deque(slot for level in range(self._depth) for slot in up if len(slot.queue) <= level)
        self._events.append(Slots(len(up)))
