"""Waiting: why a pool has no slot, and when people are told; decides only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from workers.pools.nodes import Cluster

PATIENCE = 10.0  # seconds without a slot for the same reason, then it is said
START = 60.0  # where workers are on their way


@final
@dataclass(frozen=True, slots=True)
class Lack:
    """Why there is no slot, with what may change from one look to the next; `soon` there may be one all the same."""

    why: str
    detail: str = ""
    soon: bool = False


def lack(cluster: Cluster, share: Mapping[str, float], refused: Lack | None) -> Lack:
    """Why no slot is up; `refused` is why no more may be, if that is so."""
    needs = " and ".join(f"{amount:g} {kind}" for kind, amount in share.items() if amount)
    if not cluster.usable:
        return Lack("the Ray cluster has no node that can be used")
    if not cluster.room(share):
        return Lack(f"no node of the Ray cluster has {needs}, which is what a slot takes")
    on_their_way = "workers were asked of the Ray cluster and none is up; other programs may use its machines"
    return refused or Lack(on_their_way, soon=True)


@final
class Waiting:
    """What was said since there was a slot; times are the driver's monotonic seconds."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._why, self._why_since = "", 0.0
        self._said: set[str] = set()

    def over(self, now: float) -> str:
        """There is a slot: what people are to be told of that; empty for nothing."""
        since, said = self._since, self._said
        self._since, self._why, self._said = None, "", set()
        return f"there is a slot again, after {now - since:.0f} s without" if said and since is not None else ""

    def goes_on(self, lack: Lack, now: float) -> str:
        """There is no slot: what people are to be told of that, each reason that lasts once; empty for nothing."""
        if self._since is None:
            self._since = now
        if lack.why != self._why:
            self._why, self._why_since = lack.why, now
        if now - self._why_since < (START if lack.soon else PATIENCE) or lack.why in self._said:
            return ""
        self._said.add(lack.why)
        return f"no trial can run, and the search waits: {lack.why}{f' ({lack.detail})' if lack.detail else ''}"
