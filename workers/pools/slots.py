"""Slot: an actor of the Ray cluster, what it holds, and where it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, final

import ray

from workers.pools.actor import PROGRESS, Actor
from workers.pools.running import Running


@final
class Slot:
    """An actor, what it holds (the first one runs), and the question for progress that it has not answered.

    The question is `about` what ran as the driver saw it, which may have ended since. A slot is `up` once attempts can
    come; `node` is where it then is. One that is `leaving` gets no further attempts and ends with what it holds.
    `shunned` are the nodes that its actor must not be placed on.
    """

    __slots__ = ("about", "actor", "asked", "leaving", "located", "node", "queue", "shunned", "up")

    def __init__(self, setup: str, share: Mapping[str, float], shunned: frozenset[str]) -> None:
        self.actor = hire(setup, share, shunned)
        self.located = self.actor.where.remote()
        self.shunned = shunned
        self.node = ""
        self.up = False
        self.leaving = False
        self.queue: dict[Any, Running] = {}
        self.asked: Any = None
        self.about: Running | None = None

    @property
    def head(self) -> Running | None:
        """The attempt that runs, or will as soon as the actor gets to it."""
        return next(iter(self.queue.values()), None)

    def ask(self) -> Any:
        """The question for progress."""
        self.about = self.head
        return self.actor.progress.options(concurrency_group=PROGRESS).remote()

    def drain(self) -> None:
        """Have the actor end what it runs after this epoch, and give the rest back."""
        self.leaving = True
        self.actor.drain.options(concurrency_group=PROGRESS).remote()


def hire(setup: str, share: Mapping[str, float], shunned: Collection[str] = ()) -> Any:
    """A new actor for the setup in JSON, with its `share` of CPU and GPU; Ray keeps no record of its single calls."""
    options: dict[str, Any] = {"num_cpus": share["CPU"], "num_gpus": share["GPU"], "enable_task_events": False}
    if shunned:
        options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(shunned))})"}
    return _kind().options(**options).remote(setup)


@cache
def _kind() -> Any:
    """The class of our actors; Ray sends it to the head once, which for another with each actor would wait for it."""
    return ray.remote(concurrency_groups={PROGRESS: 1})(Actor)
