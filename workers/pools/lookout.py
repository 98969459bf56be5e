"""Lookout: a thread that keeps an eye on the nodes of a Ray cluster, so that the driver waits for none of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

import ray
from ray.autoscaler.sdk import request_resources

from workers.pools.liveness import Answer, Liveness, knock
from workers.pools.nodes import Cluster

PERIOD = 1.0  # seconds between two looks
STOPPING = 3.0  # seconds that a look under way gets to end
STRIDE = 10.0  # seconds between two questions of a driver that count as silence, at most: it may have been stopped


@final
@dataclass(frozen=True, slots=True)
class Sight:
    """What the last look found, when that was, and how the head answered the last knock."""

    cluster: Cluster
    heard: float
    head: Answer = Answer.OPEN


@final
class Silence:
    """How long nothing was heard, without the time in which a process that is stopped (SIGSTOP) could hear nothing."""

    def __init__(self, heard: float) -> None:
        self._heard = self._asked = heard
        self._deaf = 0.0

    def at(self, now: float, heard: float) -> float:
        """The seconds since it was `heard`; asked again and again."""
        if heard != self._heard:
            self._heard, self._deaf = heard, 0.0
        self._deaf += max(0.0, now - self._asked - STRIDE)
        self._asked = now
        return max(0.0, now - heard - self._deaf)


@final
class Lookout:
    """Asks the head for its nodes and knocks at each of them, once a second; `sight` is what it found.

    A head that is gone keeps who asks it waiting for a minute and then ends the process, by a promise of Ray's; hence
    the thread, and a `sight` that grows old.
    """

    def __init__(self) -> None:
        self.address: str = ray.get_runtime_context().gcs_address
        host, _, port = self.address.rpartition(":")
        self._head = host.strip("[]"), int(port)
        self._liveness = Liveness()
        self._demand: Sequence[Mapping[str, float]] | None = None
        self._asked: Sequence[Mapping[str, float]] | None = None
        self._ended = threading.Event()
        self.sight = Sight(Cluster.of(_nodes(), _draining(), frozenset()), time.monotonic())
        self._silence = Silence(self.sight.heard)
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)
        self._thread.start()

    def away(self, now: float) -> float:
        """The seconds for which the head has been silent while this process listened; asked at each survey."""
        return self._silence.at(now, self.sight.heard)

    def knock(self) -> Answer:
        """How the head answers at this moment; on a cluster that is well within a millisecond."""
        return knock({"head": self._head})["head"]

    def demand(self, bundles: Sequence[Mapping[str, float]]) -> None:
        """Have the autoscaler, where there is one, make room for all `bundles` at once; for none, as it was before."""
        if bundles or self._demand is not None:
            self._demand = bundles

    def close(self) -> None:
        """End the thread, and withdraw what was demanded."""
        self._ended.set()
        self._thread.join(STOPPING)
        if self._asked and not self._thread.is_alive() and self.knock() is Answer.OPEN:
            with suppress(Exception):  # the cluster is going away
                request_resources(bundles=[])

    def _run(self) -> None:
        pause = PERIOD
        while not self._ended.wait(pause):
            began = time.monotonic()
            with suppress(Exception):  # whatever Ray raises here, it is an old sight that tells of it
                self._look()
            pause = max(0.0, PERIOD - (time.monotonic() - began))

    def _look(self) -> None:
        head = self.knock()
        if head is not Answer.OPEN:
            self.sight = Sight(self.sight.cluster, self.sight.heard, head)
            return
        records, draining = _nodes(), _draining()
        heard = time.monotonic()
        doors = {
            node["NodeID"]: (node["NodeManagerAddress"], node["NodeManagerPort"]) for node in records if node["Alive"]
        }
        answers = knock(doors)
        silent = self._liveness.round(answers, head=self.knock() is Answer.OPEN)
        self.sight = Sight(Cluster.of(records, draining, silent), heard)
        if self._demand != self._asked:
            self._asked = self._demand
            request_resources(bundles=[dict(bundle) for bundle in self._asked or ()])


def _nodes() -> list[Any]:
    nodes: list[Any] = ray.nodes()
    return nodes


def _draining() -> frozenset[str]:
    """The ids of the nodes that are asked to leave: a spot machine with two minutes left, an idle one of a scaler."""
    from ray._private.state import state  # there is no public way (2.60)

    return frozenset(state.get_draining_nodes())
