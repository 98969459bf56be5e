"""Learner: computes in this process what a lesson asks for, and pushes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import numpy as np

from nas.controllers.controller import Controller
from nas.controllers.learning import Learning
from nas.controllers.lesson import Lesson
from nas.controllers.lstm import Array
from nas.controllers.placement import Placement
from nas.controllers.policy_gradient import clipped, reinforce, truncated
from nas.threads import on_one_thread
from parameter_server.store import PushId, Store, StoreError
from workers.errors import UserError

LARGEST = 20.0  # of the ratio's logarithm: more would leave single precision, and Adam's step is the same by then


@final
class Learner(Placement):
    """Pushes the gradients of lessons, PPO's once per epoch, REINFORCE's once.

    A lesson's pushes are numbered by the lesson and the epoch, so that one that was counted before a restart is not
    counted again; what is older than the newest that the store has counted is not even computed. To the store, each
    `driver` of a search makes another attempt at them, so that one that was replaced can push nothing any more.
    """

    def __init__(self, controller: Controller, store: Store, learning: Learning, driver: int = 0) -> None:
        self.controller = controller
        self.store = store
        self.learning = learning
        self.driver = driver
        self._known: dict[str, int] = {}

    def learn(self, replica: int, lesson: Lesson) -> None:
        try:
            self._learn(lesson)
        except StoreError as error:
            raise UserError(f"the controller's parameters cannot be updated: {error}") from error

    @on_one_thread()
    def _learn(self, lesson: Lesson) -> None:
        tokens = self.controller.tokens(lesson.candidates)
        entropy = np.full(len(lesson.candidates), self.learning.entropy / len(lesson.candidates))
        for number in self._due(lesson):
            at = lesson.base or self.store.pull()
            unrolled = self.controller.unroll(at.tensors, tokens)
            weights = self._weights(lesson, unrolled.log_probabilities)
            downhill = {name: -value for name, value in unrolled.gradient(weights, entropy).items()}
            pushed = self.store.push(downhill, at.version, PushId(lesson.client, number, self.driver))
            if not pushed.counted:
                raise StoreError(f"push {number} of {lesson.client} was answered {', '.join(pushed.outcomes)}")

    def _due(self, lesson: Lesson) -> Iterable[int]:
        """The numbers of the pushes that the store may not have counted yet.

        The newest one that it has seen is sent again, for a driver may have died between two shards.
        """
        epochs = self.learning.epochs if self.learning.algorithm == "ppo" else 1
        if lesson.client not in self._known:
            self._known[lesson.client] = self.store.join(lesson.client, self.driver) - 1
        first = lesson.number * epochs
        return range(max(first, self._known[lesson.client]), first + epochs)

    def _weights(self, lesson: Lesson, log_probabilities: Array) -> Array:
        advantages = np.array(lesson.advantages)
        if lesson.base is not None:
            return reinforce(advantages)
        ratios = np.exp(np.minimum(log_probabilities - np.array(lesson.log_probabilities), LARGEST))
        if self.learning.algorithm == "ppo":
            return clipped(advantages, ratios, self.learning.clip)
        return truncated(advantages, ratios)
