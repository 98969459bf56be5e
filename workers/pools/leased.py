"""Leased: the slots that a search may have of a cluster which it shares, as the broker there says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, final

import ray
from ray.exceptions import GetTimeoutError

from workers.pools.allowance import Allowance, Unlimited
from workers.pools.broker import Broker
from workers.pools.reason import in_a_line
from workers.pools.shares import Claim, Lease
from workers.pools.waiting import Lack

NAMESPACE = "cellwright"
AUTO, NONE = "auto", "none"  # names that are no broker's
PERIOD = 1.0  # seconds between two renewals
ANSWER = 2.0  # seconds that an answer may take
IDLE = 5.0  # seconds that slots may be idle; all but one are then offered to others

Ask = Callable[[str], str]


@final
class Leased(Allowance):
    """A thread renews the lease; while no broker answers, the last grant holds.

    `ask` takes a claim and gives a lease, both in JSON; it may raise anything, and is tried again.
    """

    def __init__(self, member: str, weight: float, quota: int | None, ask: Ask, leave: Callable[[], None]) -> None:
        self._base = Claim(member, 0, 0, 0, weight=weight, quota=quota)
        self._ask, self._leave = ask, leave
        self._claim: Claim | None = None
        self._lease = Lease(0, 0.0)
        self._trouble = "it has not been reached yet"
        self._idle_since: float | None = None
        self._yielding = False
        self._news = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def granted(self, wanted: int, room: int, held: int, busy: int) -> int:
        wanted = self._in_use(wanted, held, busy)
        granted = min(wanted, self._lease.granted)
        held = max(held, granted)  # what is hired after this counts, or a lease that shrinks soon would not know of it
        claim = Claim(self._base.search, room, wanted, held, weight=self._base.weight, quota=self._base.quota)
        if claim != self._claim:
            self._claim = claim
            self._news.set()
        return granted

    def lack(self) -> Lack | None:
        if self._lease.granted:
            return None
        if trouble := self._trouble:
            return Lack("no broker grants slots; with `broker: none` in its pool a job takes what is free", trouble)
        return Lack("other searches have all slots of the Ray cluster, and give them back as their trials end")

    def close(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._news.set()
            self._thread.join(2 * ANSWER)
            if not self._thread.is_alive():
                with suppress(Exception):  # the cluster may be gone
                    self._leave()

    def _in_use(self, wanted: int, held: int, busy: int) -> int:
        """What is wanted; where slots are idle for long only one more than are busy, until that one is used, too."""
        now = time.monotonic()
        if held - busy <= 1:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        if held == busy:
            self._yielding = False
        elif self._idle_since is not None and now > self._idle_since + IDLE:
            self._yielding = True
        return min(wanted, busy + 1) if self._yielding else wanted

    def _run(self) -> None:
        while True:
            self._news.wait(PERIOD)
            self._news.clear()
            if self._ended.is_set():
                return
            if (claim := self._claim) is None:
                continue
            told = asdict(claim) | {"granted": self._lease.granted, "owed": self._lease.owed}
            try:
                self._lease = Lease(**json.loads(self._ask(json.dumps(told))))
                self._trouble = ""
            except Exception as error:  # whatever Ray raises: what was granted last still is, the next turn tries again
                self._trouble = in_a_line(error)
                self._ended.wait(PERIOD / 4)


def lease(broker: str, own: bool, search: str, weight: float, quota: int | None) -> Allowance:
    """What a pool that has joined a cluster is allowed there; `own`: nobody else is in it, unless a broker is named."""
    if broker == NONE or (broker == AUTO and own):
        return Unlimited() if quota is None else Limited(quota)
    name = NAMESPACE if broker == AUTO else broker
    member = f"{search} {ray.get_runtime_context().get_job_id()}"
    found: list[Any] = []

    def ask(claim: str) -> str:
        if not ray.is_initialized():
            raise ConnectionError("this process is in no cluster")
        if not found:
            found.append(_broker(name))
        try:
            said: str = ray.get(found[0].renew.remote(claim), timeout=ANSWER)
        except GetTimeoutError:
            raise
        except Exception:
            found.clear()  # it is dead: the next time there is another
            raise
        return said

    def leave() -> None:
        if found and ray.is_initialized() and ray.get(found[0].leave.remote(member), timeout=ANSWER):
            ray.kill(found[0])  # who comes at this moment makes another

    return Leased(member, weight, quota, ask, leave)


@final
class Limited(Allowance):
    """As many as are wanted, up to a number; for a cluster that is shared with nobody."""

    def __init__(self, quota: int) -> None:
        self._quota = quota

    def granted(self, wanted: int, room: int, held: int, busy: int) -> int:
        return min(wanted, self._quota)


def _broker(name: str) -> Any:
    """The broker of that name, a new one where there is none."""
    options = {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    return ray.remote(Broker).options(**options, num_cpus=0, max_restarts=0, enable_task_events=False).remote()
