"""Trace: what one search had reached after each of its trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from nas.bench.run import Told
from nas.bench.table import Table, World

Known: TypeAlias = tuple[float | None, ...]


@final
@dataclass(frozen=True, slots=True)
class Trace:
    """The incumbent after each trial: of the full trainings told so far the best by search value, the first of equals.

    `search` and `report` are its values; `search_rank` and `report_rank` count the rows that are better;
    `search_regret` and `report_regret` are what is missing to the best row, 0 or more, each None while nothing
    feasible was told. `seconds` is the virtual time of each telling, `told` how many trials there were: a shorter
    search keeps its last values.
    """

    seed: int
    told: int
    search: Known
    report: Known
    search_rank: Known
    report_rank: Known
    search_regret: Known
    report_regret: Known
    seconds: tuple[float, ...]


def trace(table: Table, told: Sequence[Told], trials: int, seed: int) -> Trace:
    """The trace of a search with this seed that was to have so many trials, whoever made it."""
    world = World(table, seed)
    told = told[:trials]
    points: list[tuple[float | None, ...]] = []
    best: float | None = None
    point: tuple[float | None, ...] = (None,) * 6
    for one in told:
        if one.epochs == table.epochs and one.gain is not None and (best is None or one.gain > best):
            best = one.gain
            point = _point(table, world, one)
        points.append(point)
    missing = trials - len(told)
    search, report, search_rank, report_rank, search_regret, report_regret = zip(
        *points, *[point] * missing, strict=True
    )
    seconds = [one.seconds for one in told]
    seconds += [seconds[-1] if seconds else 0.0] * missing
    return Trace(
        seed=seed,
        told=len(told),
        search=search,
        report=report,
        search_rank=search_rank,
        report_rank=report_rank,
        search_regret=search_regret,
        report_regret=report_regret,
        seconds=tuple(seconds),
    )


def _point(table: Table, world: World, told: Told) -> tuple[float, ...]:
    assert told.gain is not None
    reported = table.rows[told.row].reported
    return (
        table.objective.gain(told.gain),
        reported,
        float(world.search_rank(told.gain)),
        float(world.report_rank(reported)),
        world.best_search - told.gain,
        world.best_report - table.objective.gain(reported),
    )
