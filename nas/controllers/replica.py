"""Replica: one of the controllers that share a store; it pays for a batch of children, and pushes gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import final

import numpy as np

from nas.controllers.controller import Controller, Sample
from nas.controllers.learning import Learning
from nas.controllers.policy_gradient import Baseline, clipped, reinforce
from nas.threads import on_one_thread
from parameter_server.store import Pull, PushId, Store
from search_spaces.decisions import Candidate

LARGEST = 20.0  # of the ratio's logarithm: more would leave single precision, and Adam's step is the same by then


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """Children that a replica sampled from the parameters `base`, with what it paid for each."""

    number: int
    base: Pull
    candidates: Sequence[Candidate]
    log_probabilities: Sequence[float]
    rewards: Sequence[float]


@final
class Replica:
    """Samples from parameters that it pulled, and learns from one batch at a time; its baseline is its own.

    REINFORCE pushes the gradient at the parameters that sampled the batch. PPO pulls and pushes once per epoch: its
    ratio says how much likelier a child has become since, by whomever.
    """

    def __init__(self, number: int, controller: Controller, store: Store, learning: Learning) -> None:
        self.number = number
        self.controller = controller
        self.store = store
        self.learning = learning
        self.baseline = Baseline(learning.baseline)

    def create(self, seed: int) -> None:
        """Bring the first parameters into the store; they are the same for all replicas of a seed."""
        generator = np.random.default_rng(Random(f"{seed}/controller").getrandbits(64))
        self.store.create(self.controller.initial(self.learning.initial, generator))

    @on_one_thread()
    def sample(self, base: Pull, generator: Random, heat: float = 1.0) -> Sample:
        """A child, from the parameters `base`."""
        return self.controller.sample(base.tensors, generator, heat)

    @on_one_thread()
    def learn(self, batch: Batch) -> None:
        """Push what the rewards of a batch ask for."""
        learning, count = self.learning, len(batch.candidates)
        tokens = self.controller.tokens(batch.candidates)
        advantages = self.baseline.advantages(batch.rewards)
        sampled = np.array(batch.log_probabilities)
        entropy = np.full(count, learning.entropy / count)
        epochs = learning.epochs if learning.algorithm == "ppo" else 1
        for epoch in range(epochs):
            pulled = self.store.pull() if learning.algorithm == "ppo" else batch.base
            unrolled = self.controller.unroll(pulled.tensors, tokens)
            if learning.algorithm == "ppo":
                ratios = np.exp(np.minimum(unrolled.log_probabilities - sampled, LARGEST))
                weights = clipped(advantages, ratios, learning.clip)
            else:
                weights = reinforce(advantages)
            downhill = {name: -value for name, value in unrolled.gradient(weights, entropy).items()}
            push_id = PushId(f"replica-{self.number}", batch.number * epochs + epoch)
            self.store.push(downhill, pulled.version, push_id)
        self.baseline.take(batch.rewards)
