"""Policy: how a store treats gradients, and who waits for whom; plain data, so that it travels as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, final

from parameter_server.optimizers import Optimizer
from parameter_server.store import StoreError


@final
@dataclass(frozen=True, slots=True)
class Async:
    """Every push is applied when it comes."""


@final
@dataclass(frozen=True, slots=True)
class Sync:
    """Rounds: the mean of the first `workers` pushes is one step; `backup` more clients may run, and come too late.

    A round waits for `workers` clients, or for all that hold a lease when these are fewer; until `workers` have
    joined, or the time of a lease has passed since the first did, it waits for `workers`. The gradients of a round are
    added in the order of their clients' names, so that the step does not depend on who was first.
    """

    workers: int
    backup: int = 0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.backup < 0:
            raise StoreError(
                f"a round of {self.workers} workers and {self.backup} more: there must be at least 1, and 0 more"
            )


@final
@dataclass(frozen=True, slots=True)
class Bounded:
    """Stale synchronous parallel (Ho et al., NeurIPS 2013): https://papers.nips.cc/paper/4894.

    `block`: a push waits while its client is more than `staleness` pushes ahead of the slowest that holds a lease.
    `reject`: a push whose parameters are more than `staleness` updates old is answered `stale`.
    """

    staleness: int
    beyond: Literal["block", "reject"] = "block"

    def __post_init__(self) -> None:
        if self.staleness < 0:
            raise StoreError(f"the staleness is bounded by {self.staleness}, but must be by 0 or more")
        if self.beyond not in ("block", "reject"):
            raise StoreError(f"who is beyond the bound is to be {self.beyond!r}, but there are block and reject")


Mode: TypeAlias = Async | Sync | Bounded


@final
@dataclass(frozen=True, slots=True)
class Group:
    """The tensors whose names fit `pattern` (as in fnmatch): how they step, and the largest element of a gradient."""

    optimizer: Optimizer
    pattern: str = "*"
    clip: float | None = None

    def __post_init__(self) -> None:
        _check_positive("clip", self.clip)


@final
@dataclass(frozen=True, slots=True)
class Policy:
    """The first group that fits a name counts. `norm` clips a whole push, whose pusher knows its norm.

    With `scaled_by_staleness` the learning rate of a push is divided by its staleness where that is above 1
    (Zhang et al., IJCAI 2016): https://arxiv.org/abs/1511.05950. `lease` is in seconds. `in_flight` pushes may be
    under way on a shard; more are answered `busy`.
    """

    groups: tuple[Group, ...]
    mode: Mode = field(default_factory=Async)
    norm: float | None = None
    scaled_by_staleness: bool = False
    lease: float = 10.0
    in_flight: int = 256

    def __post_init__(self) -> None:
        _check_positive("norm", self.norm)
        _check_positive("lease", self.lease)
        least = self.mode.workers if isinstance(self.mode, Sync) else 1
        if self.in_flight < least:
            raise StoreError(f"{self.in_flight} pushes may be in flight, but must be at least {least}, to go on at all")

    def group(self, name: str) -> Group:
        """How a tensor is stepped; raises `StoreError` when no pattern fits its name."""
        for group in self.groups:
            if fnmatchcase(name, group.pattern):
                return group
        patterns = ", ".join(group.pattern for group in self.groups) or "none"
        raise StoreError(f"no group fits the tensor {name!r}: there are the patterns {patterns}; add one")


def _check_positive(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise StoreError(f"{name} is {value}, but must be above 0, and finite")
