"""Which trials are best: by one objective, or the Pareto front by several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from workers.objectives import Objective

T = TypeVar("T")


def gains(metrics: Mapping[str, float], objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """One number per objective, larger better; None where a metric is missing or not a number."""
    found = tuple(o.gain(metrics[o.metric]) for o in objectives if o.metric in metrics)
    if len(found) < len(objectives) or any(value != value for value in found):
        return None
    return found


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is at least as good in everything, and better in something."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def front(points: Sequence[tuple[float, ...]]) -> list[int]:
    """The places of the points that none dominates, the best by the first number first; equal points stay together.

    One objective: the best, and its equals.
    """
    order = sorted(range(len(points)), key=lambda i: tuple(-value for value in points[i]))
    kept: list[int] = []
    for i in order:  # whoever dominates a point comes before it in this order
        if not any(dominates(points[j], points[i]) for j in kept):
            kept.append(i)
    return kept


def ranked(items: Iterable[T], metrics: Callable[[T], Mapping[str, float]], objectives: Sequence[Objective]) -> list[T]:
    """The items best first by one objective; the Pareto front by several. Items without the metrics are left out."""
    scored = [(item, found) for item in items if (found := gains(metrics(item), objectives)) is not None]
    if len(objectives) == 1:
        return [item for item, _ in sorted(scored, key=lambda pair: -pair[1][0])]
    return [scored[place][0] for place in front([found for _, found in scored])]
