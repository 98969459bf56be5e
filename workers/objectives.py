"""Outcome, Objective: how a trial can end, and what of it is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final


@final
class Outcome(StrEnum):
    """How an attempt at a trial ended.

    | outcome | because | charged | a strategy hears |
    |---|---|---|---|
    | completed | it trained | - | the metrics |
    | failed | exception, NaN, divergence | candidate | the worst value seen |
    | failed | over its time limit | candidate | the last reported metrics, else the worst value seen |
    | failed | lost three times on different workers | candidate | the worst value seen |
    | infeasible | device out of memory, a constraint | candidate | infeasible |
    | lost | worker or node died, host out of memory: issued again | nobody | nothing |
    | stopped | the user stopped it, its node is drained, or its worker ended before it began | nobody | nothing |
    """

    COMPLETED = "completed"
    FAILED = "failed"
    INFEASIBLE = "infeasible"
    LOST = "lost"
    STOPPED = "stopped"

    @property
    def charged(self) -> bool:
        """Whether this ends the trial; otherwise it is issued again."""
        return self not in (Outcome.LOST, Outcome.STOPPED)


@final
class Direction(StrEnum):
    """Which way a metric is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


@final
@dataclass(frozen=True)
class Objective:
    """A named metric and its direction."""

    metric: str
    direction: Direction

    def gain(self, value: float) -> float:
        """`value` with the sign that makes larger better."""
        return value if self.direction is Direction.MAXIMIZE else -value
