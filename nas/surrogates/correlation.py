"""Rank correlation: how well the order that a surrogate predicted agrees with what children then scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from nas.history import History
from workers.objectives import Objective


@final
@dataclass(frozen=True, slots=True)
class LevelCorrelation:
    """Spearman's rho of one level of a progressive search, None where there is none (yet).

    `predicted` compares the predictions made before the level was trained with its scores, over `count` children;
    `fitted` those of the surrogate after it was fitted to the level.
    """

    level: int
    count: int
    predicted: float | None
    fitted: float | None


def rank_correlations(history: History, objective: Objective) -> list[LevelCorrelation]:
    """One entry per level of a PNAS search, from its journal alone; empty for other searches."""
    pairs: dict[int, list[tuple[float | None, float]]] = {}
    fitted: dict[int, float | None] = {}
    for record in history.trials.values():
        note = record.trial.note
        if "level" not in note or record.arm != "strategy":
            continue
        if "fitted" in note:
            fitted[note["level"] - 1] = note["fitted"]
        level = pairs.setdefault(note["level"], [])
        if record.completed and record.result and objective.metric in record.result.metrics:
            level.append((note.get("predicted"), record.result.metrics[objective.metric]))
    return [_level(level, found, fitted.get(level)) for level, found in sorted(pairs.items())]


def _level(level: int, found: Sequence[tuple[float | None, float]], fitted: float | None) -> LevelCorrelation:
    both = [(predicted, score) for predicted, score in found if predicted is not None]
    rho = spearman([predicted for predicted, _ in both], [score for _, score in both])
    return LevelCorrelation(level, len(found), rho, fitted)


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None where a side does not vary."""
    a, b = _ranks(first), _ranks(second)
    middle = (len(a) - 1) / 2
    spread = math.sqrt(sum((x - middle) ** 2 for x in a) * sum((y - middle) ** 2 for y in b))
    if not spread:
        return None
    return max(-1.0, min(1.0, sum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True)) / spread))


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        stop = start
        while stop < len(order) and values[order[stop]] == values[order[start]]:
            stop += 1
        for place in order[start:stop]:
            ranks[place] = (start + stop - 1) / 2
        start = stop
    return ranks
