"""Which trials are best: by one objective, or the Pareto front by several."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import ge
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


def fronts(points: Sequence[tuple[float, ...]]) -> list[list[int]]:
    """The places of all points, front by front: each dominates nothing of its own, and is dominated by the one before.

    Efficient non-dominated sort with binary search (Zhang et al. 2015, doi:10.1109/TEVC.2014.2308305).
    """
    found: list[list[int]] = []
    tails: list[list[tuple[float, ...]]] = []  # of the members, all but the first number, by which they are sorted
    last: tuple[float, ...] | None = None
    home = 0
    for i in sorted(range(len(points)), key=lambda i: tuple(-value for value in points[i])):
        if points[i] != last:  # equal points share a front
            last, tail = points[i], points[i][1:]
            home = bisect_left(tails, True, key=lambda members: not _beaten(tail, members))
            if home == len(found):
                found.append([])
                tails.append([])
            tails[home].append(tail)
        found[home].append(i)
    return found


def crowding(points: Sequence[tuple[float, ...]]) -> list[float]:
    """How far each point of one front is from its neighbours, the outermost infinitely.

    NSGA-II (Deb et al. 2002, doi:10.1109/4235.996017).
    """
    distances = [0.0] * len(points)
    for axis in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda i: points[i][axis])
        width = points[order[-1]][axis] - points[order[0]][axis]
        distances[order[0]] = distances[order[-1]] = math.inf
        for before, here, behind in zip(order, order[1:], order[2:], strict=False):
            way = points[behind][axis] - points[before][axis]
            distances[here] += way / width if 0 < width < math.inf else 0.0
    return distances


def ordered(points: Sequence[tuple[float, ...]]) -> list[int]:
    """The places of all points, best first: by one number, by several front by front, what stands alone first."""
    if points and len(points[0]) == 1:
        return sorted(range(len(points)), key=lambda i: -points[i][0])
    order: list[int] = []
    for members in fronts(points):
        alone = crowding([points[i] for i in members])
        order += [members[k] for k in sorted(range(len(members)), key=lambda k: (-alone[k], members[k]))]
    return order


def ranked(items: Iterable[T], metrics: Callable[[T], Mapping[str, float]], objectives: Sequence[Objective]) -> list[T]:
    """The items best first by one objective; the Pareto front by several. Items without the metrics are left out."""
    scored = [(item, found) for item in items if (found := gains(metrics(item), objectives)) is not None]
    if len(objectives) == 1:
        return [item for item, _ in sorted(scored, key=lambda pair: -pair[1][0])]
    return [scored[place][0] for place in front([found for _, found in scored])]


def _beaten(tail: tuple[float, ...], members: Sequence[tuple[float, ...]]) -> bool:
    """Whether a member is nowhere below; with one number left the last one decides, as it is the largest."""
    return any(all(map(ge, one, tail)) for one in (members[-1:] if len(tail) == 1 else reversed(members)))
