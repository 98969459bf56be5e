"""Survey: what a pool does about its slots after a look at the cluster; decides only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from workers.pools.allowance import Allowance
from workers.pools.nodes import Cluster

SPARE = 4  # slots that wait for room beyond what there is; they show Ray's autoscaler what is missing
STARTS = 2  # actors of a node that start at once, or as many as it has cores: 100 that did on two made a load of 220
BUNDLES = 1000  # what is asked of an autoscaler at once, at most


@final
@dataclass(frozen=True, slots=True)
class Post:
    """A slot as the survey sees it; `place` is its number."""

    place: int
    node: str
    up: bool
    held: int
    leaving: bool
    shunned: frozenset[str] = frozenset()


@final
@dataclass(frozen=True, slots=True)
class Survey:
    """What is to be done: the numbers of slots that are lost, to be drained, let go, sent away later, kept after all.

    `hires` is how many new slots begin, and `demand` how many slots an autoscaler is asked for in all (0: as it likes).
    """

    lost: tuple[int, ...] = ()
    drained: tuple[int, ...] = ()
    dismissed: tuple[int, ...] = ()
    leaving: tuple[int, ...] = ()
    staying: tuple[int, ...] = ()
    hires: int = 0
    demand: int = 0


def survey(
    posts: Sequence[Post], cluster: Cluster, share: Mapping[str, float], fixed: int | None, allowance: Allowance
) -> Survey:
    """What is to be done where `fixed` slots are wanted, or as many as the cluster has room for.

    An actor that is not up is nowhere yet: where other nodes are shunned by now it starts again. Of too many slots
    those go first that are not up, then idle ones, then whoever runs something, once it has ended.
    """
    room = cluster.room(share)
    lost = tuple(post.place for post in posts if post.node in cluster.lost)
    rest = [post for post in posts if post.node not in cluster.lost]
    asked_back = [post for post in rest if post.node in cluster.draining]
    rest = [post for post in rest if post.node not in cluster.draining]
    misplaced = [post.place for post in rest if not post.up and post.shunned != cluster.silent]
    rest = sorted((post for post in rest if post.up or post.shunned == cluster.silent), key=_worth)
    starts = SPARE + sum(max(STARTS, int(node.resources.get("CPU", 0))) for node in cluster.usable)
    wanted = room if fixed is None else fixed
    busy = sum(post.held > 0 or not post.up for post in rest)
    target = max(0, min(wanted, allowance.granted(wanted, room, len(rest), busy)))
    surplus, kept = rest[: max(0, len(rest) - target)], rest[max(0, len(rest) - target) :]
    return Survey(
        lost,
        tuple(post.place for post in asked_back if post.held and not post.leaving),
        (*misplaced, *(post.place for post in (*asked_back, *surplus) if not post.held)),
        tuple(post.place for post in surplus if post.held and not post.leaving),
        tuple(post.place for post in kept if post.leaving),
        max(0, min(target - len(rest), room + SPARE - len(rest), starts - sum(not post.up for post in rest))),
        min(target, BUNDLES) if fixed is not None and target > room else 0,
    )


def _worth(post: Post) -> tuple[bool, bool, bool]:
    """Orders slots from those that are missed least."""
    return post.up, post.held > 0, not post.leaving
