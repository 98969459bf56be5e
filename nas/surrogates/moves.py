"""Candidates near others: mutations and neighbours of rows of codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nas.surrogates.codes import INACTIVE, Codes, Column
from search_spaces.decision import Choice

if TYPE_CHECKING:
    from nas.surrogates.codes import Rows

SPREAD = 0.1  # of a number's step, as a share of its range
MANY = 16  # values of a decision up to which all are neighbours
STEPS = np.array([-0.1, -0.03, -0.01, 0.01, 0.03, 0.1])  # to the neighbours of a number with more
FAR = 0.2  # how often a number is drawn afresh instead


def mutated(codes: Codes, parents: Rows, generator: np.random.Generator, most: int = 3, spread: float = SPREAD) -> Rows:
    """A child of every row, in which one to `most` of the active decisions are changed."""
    children = parents.copy()
    count = len(children)
    places = np.flatnonzero(codes.movable)
    if not count or not len(places):
        return children
    changes = generator.integers(1, most + 1, count)
    keys = generator.random((count, len(places)))
    keys[children[:, places] == INACTIVE] = 2.0  # behind all that are active
    order = np.argsort(keys, axis=1)
    for turn in range(min(most, len(places))):
        chosen = places[order[:, turn]]
        turned = (changes > turn) & (keys[np.arange(count), order[:, turn]] < 2.0)
        for place in np.unique(chosen[turned]).tolist():
            which = np.flatnonzero(turned & (chosen == place))
            children[which, place] = _changed(codes, place, children[which, place], generator, spread)
    return codes.completed(children, generator)


def neighbours(codes: Codes, parents: Rows, generator: np.random.Generator) -> Rows:
    """Rows that differ from a parent in one decision: every other option, or the numbers a step and more away."""
    found = []
    for parent in parents:
        for place in np.flatnonzero(codes.movable & (parent != INACTIVE)).tolist():
            others = _others(codes, place, float(parent[place]), generator)
            rows = np.repeat(parent[None], len(others), axis=0)
            rows[:, place] = others
            found.append(rows)
    if not found:
        return np.zeros((0, len(codes)))
    return codes.completed(np.concatenate(found), generator)


def _others(codes: Codes, place: int, code: float, generator: np.random.Generator) -> Rows:
    column = codes.columns[place]
    if column.steps <= MANY:
        every = _values(column)
    elif column.categorical:
        every = column.drawn(MANY, generator)
    else:
        every = column.snapped(code + STEPS)
    return np.unique(every[every != code])


def _changed(codes: Codes, place: int, values: Rows, generator: np.random.Generator, spread: float) -> Rows:
    """Other values of one column: another option, or a number nearby, now and then one far away."""
    column = codes.columns[place]
    if column.categorical:
        steps = int(column.steps)
        return (values + generator.integers(1, steps, len(values))) % steps
    reach = max(spread, 1.0 / (column.steps - 1))
    moved = column.snapped(values + generator.normal(0.0, reach, len(values)))
    afresh = (generator.random(len(values)) < FAR) | (moved == values)
    moved[afresh] = column.drawn(int(afresh.sum()), generator)
    return moved


def enumerated(codes: Codes) -> Rows:
    """Every candidate of a finite table, once."""
    rows = np.full((1, len(codes)), INACTIVE)
    for place, column in enumerate(codes.columns):
        values = _values(column)
        active = codes.active(place, rows)
        grown = np.repeat(rows[active], len(values), axis=0)
        grown[:, place] = np.tile(values, int(active.sum()))
        rows = np.concatenate([rows[~active], grown])
    return rows


def _values(column: Column) -> Rows:
    """The codes of all values of a column."""
    if column.categorical:
        return np.arange(column.steps)
    if isinstance(column.decision, Choice):
        return np.linspace(0.0, 1.0, int(column.steps))
    whole = range(int(column.decision.low), int(column.decision.high) + 1)
    return np.array([column.code(value) for value in whole])
