"""Footing: a process in a Ray cluster, which it has joined or started, keeps an eye on, and may share with others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import ray

from workers.errors import UserError
from workers.pools.allowance import Allowance
from workers.pools.cluster import connect
from workers.pools.leased import lease
from workers.pools.liveness import Answer
from workers.pools.lookout import Lookout
from workers.pools.nodes import Cluster

PATIENCE = 45.0  # seconds that the head may be silent; Ray ends the process after 60
REFUSED = 3.0  # seconds after which the head of our own cluster is dead if nobody listens there
LATELY = 10.0  # seconds within which a head that hires was heard: Ray would have us wait for one that is gone


@final
class Footing:
    """Taken where `address` says, for slots that get a `share` each, of which `fixed` are wanted (None: all).

    `sharing` is what the broker of that name hears of this search: its id, weight and quota.
    """

    def __init__(
        self,
        address: str | None,
        share: Mapping[str, float],
        fixed: int | None,
        broker: str,
        sharing: tuple[str, float, int | None],
    ) -> None:
        self._membership = connect(address, share, fixed)
        try:
            self._home = ray.get_runtime_context().get_node_id()
            self._lookout = Lookout()
            self.allowance: Allowance = lease(broker, self._membership.own, *sharing)
        except BaseException:
            self._membership.leave()
            raise

    @property
    def cluster(self) -> Cluster:
        """The nodes as they were last seen."""
        return self._lookout.sight.cluster

    def demand(self, slots: int, share: Mapping[str, float]) -> None:
        """Have the autoscaler, where there is one, make room for so many slots at once; 0: as it was before."""
        self._lookout.demand([share] * slots)

    def hires(self, now: float) -> bool:
        """Whether the head can be asked for actors: it was heard lately, and lets one in at this moment."""
        lately = self._lookout.sight.head is Answer.OPEN and self._lookout.away(now) < LATELY
        return lately and self._lookout.knock() is Answer.OPEN

    def abandoned(self, now: float) -> bool:
        """Whether the raylet that this process hangs on is dead, or our own head; `UserError` if it is another's."""
        sight, away = self._lookout.sight, self._lookout.away(now)
        if self._membership.own and sight.head is Answer.REFUSED and away > REFUSED:
            return True
        if away > PATIENCE:
            raise UserError(
                f"the head of the Ray cluster at {self._lookout.address} has not answered for {away:.0f} s: "
                "once it does, or another cluster is there, `nas resume` goes on from the journal"
            )
        return self._membership.joined and self._home in sight.cluster.lost

    def leave(self) -> None:
        """Give back what is leased, and end a cluster of our own. May be called twice."""
        self.allowance.close()
        self._lookout.close()
        self._membership.leave()
