"""Verification: whether what was kept of a controller can have come of a history; who kept it need not be us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from nas.controllers.replica import client
from parameter_server.memory_store import MemoryStore

if TYPE_CHECKING:
    from nas.controllers.batches import Past
    from nas.controllers.learning import Learning
    from nas.controllers.lstm import Array
    from nas.controllers.recollection import Recollection
    from nas.controllers.shared import Shared
    from parameter_server.shards.shard import Shard
    from parameter_server.store import Pull

RATIO: Final = 8.0  # Adam's mean is at most 7.3 times the root of its mean square, by Cauchy and Schwarz
TINY: Final = 1e-15  # of a gradient, whose square is nothing in single precision


def verify(found: Recollection, past: Past, shared: Shared, learning: Learning, replicas: int, driver: int) -> None:
    """Raise `ValueError`, or what the store raises, unless the parameters of `shared`, which come from `found`, fit.

    Every lesson of the past was pushed and counted, nothing else was, and no number is larger than these lessons can
    have made it: so the next lessons will be counted, and will keep the parameters finite.
    """
    store = shared.store
    assert isinstance(store, MemoryStore)
    ppo = learning.algorithm == "ppo"
    epochs = learning.epochs if ppo else 1
    pushes = epochs * sum(lessons for lessons, _ in past.lessons.values())
    first = shared.controller.initial(learning.initial, np.random.default_rng(0))
    farthest = learning.initial + RATIO * learning.learning_rate * pushes
    now = store.pull()
    for pull in (now, *found.bases.values()):
        _check_parameters(pull, first, farthest)
        if len(pull.version) != 1 or not 0 <= pull.version[0] <= now.version[0]:
            raise ValueError(f"parameters have the version {pull.version}, those of now {now.version}")
    (shard,) = store.shards
    _check_memory(shard, pushes)
    clients = {client(*place): epochs * (last + 1) for place, (_, last) in past.lessons.items()}
    if shard.memory.book.rows.keys() != {(0, name) for name in clients}:
        raise ValueError("others have pushed than those who learned")
    for name, number in clients.items():
        if store.join(name, driver) != number:
            raise ValueError(f"{name} has not pushed what it learned")
    needed = {past.filling} if ppo and past.filling else set() if ppo else set(past.open)
    if not needed <= set(found.bases) <= set(past.open):
        raise ValueError("parameters are there of other batches than those under way")
    learned = {replica for replica, _ in past.lessons}
    if [value is not None for value in found.baselines] != [replica in learned for replica in range(replicas)]:
        raise ValueError("a baseline is there of who has learned nothing, or not of who has")


def _check_parameters(pull: Pull, first: Mapping[str, Array], farthest: float) -> None:
    if pull.tensors.keys() != first.keys():
        raise ValueError(f"there are parameters {', '.join(pull.tensors)}, but should be {', '.join(first)}")
    for name, value in pull.tensors.items():
        if value.shape != first[name].shape or value.dtype != first[name].dtype:
            raise ValueError(f"{name} is {value.dtype} {value.shape}")
        if not (value.size == 0 or float(np.abs(value).max()) <= farthest):
            raise ValueError(f"{name} is farther than {farthest:g} from 0")


def _check_memory(shard: Shard, pushes: int) -> None:
    """What the optimizer remembers, and how often each piece was stepped."""
    memory = shard.memory
    rows = memory.book.pieces
    steps = [pushes if piece.size else 0 for piece in memory.pieces]
    if memory.book.version != pushes or rows["steps"].tolist() != steps or rows["ledger"].any():
        raise ValueError("the store has taken other updates than these lessons")
    for place in range(len(memory.pieces)):
        _, mean, square = memory.front(place)
        if not (square >= 0).all() or not np.isfinite(square).all():
            raise ValueError("a mean of squares is below 0, or none")
        if not (np.abs(mean) <= RATIO * np.sqrt(square) + TINY).all():
            raise ValueError("a mean is too large for its mean of squares")
