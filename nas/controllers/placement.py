"""Placement: where gradients of a controller are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod

from nas.controllers.lesson import Lesson


class Placement(ABC):
    """Takes lessons, and has each counted once in the store, those of one client in the order in which they came."""

    @abstractmethod
    def learn(self, replica: int, lesson: Lesson) -> None:
        """Compute and push, now or soon; raises `UserError` when this or an earlier lesson could not be."""

    def close(self) -> None:
        """Wait a while for what is under way. What is not counted by then, the next driver sends again."""
