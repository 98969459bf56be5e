"""Replica: one of the controllers that share a store; it pays for a batch of children, and asks for a lesson."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import final

import numpy as np

from nas.controllers.controller import Controller, Sample
from nas.controllers.learner import Learner
from nas.controllers.learning import Learning
from nas.controllers.lesson import Lesson
from nas.controllers.placement import Placement
from nas.controllers.policy_gradient import Baseline
from nas.threads import on_one_thread
from parameter_server.store import Pull, Store
from search_spaces.decisions import Candidate


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """Children that a replica sampled from the parameters `base`, with what it paid for each.

    Batches that are under way together are in different lanes; `number` counts those of one lane from 0. `base` is
    None where a driver that is gone pulled it.
    """

    number: int
    base: Pull | None
    candidates: Sequence[Candidate]
    log_probabilities: Sequence[float]
    rewards: Sequence[float]
    lane: int = 0


def client(replica: int, lane: int) -> str:
    """What the store calls who pushes the lessons of a lane."""
    return f"replica-{replica}.{lane}"


@final
class Replica:
    """Samples from parameters that it pulled, and learns from one batch at a time; its baseline is its own.

    REINFORCE pushes the gradient at the parameters that sampled the batch. PPO pulls and pushes once per epoch: its
    ratio says how much likelier a child has become since, by whomever. `placement` is where that is computed, here
    by default. To a store, a lane is a client: its batches end in the order of their numbers, as pushes have to.
    """

    def __init__(
        self,
        number: int,
        controller: Controller,
        store: Store,
        learning: Learning,
        placement: Placement | None = None,
    ) -> None:
        self.number = number
        self.controller = controller
        self.store = store
        self.learning = learning
        self.baseline = Baseline(learning.baseline)
        self.placement = placement or Learner(controller, store, learning)

    def create(self, seed: int) -> bool:
        """Bring the first parameters into the store, the same for all replicas of a seed; False if some were there."""
        generator = np.random.default_rng(Random(f"{seed}/controller").getrandbits(64))
        first = self.controller.initial(self.learning.initial, generator)
        return len(self.store.create(first)) == len(first)

    @on_one_thread()
    def sample(self, base: Pull, generator: Random, heat: float = 1.0) -> Sample:
        """A child, from the parameters `base`."""
        return self.controller.sample(base.tensors, generator, heat)

    def learn(self, batch: Batch) -> None:
        """Have pushed what the rewards of a batch ask for."""
        advantages = [float(one) for one in self.baseline.advantages(batch.rewards)]
        base = batch.base if self.learning.algorithm == "reinforce" else None
        children = batch.candidates, batch.log_probabilities, advantages
        self.placement.learn(self.number, Lesson(client(self.number, batch.lane), batch.number, *children, base))
        self.baseline.take(batch.rewards)
