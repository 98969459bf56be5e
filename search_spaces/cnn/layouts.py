"""Layout: which cells are stacked in which order, with how many filters, and which two maps each of them reads.

Map 0 is the stem's output, map n the output of the n-th cell. Filters double wherever the map is halved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One cell of the stack; `previous` None: the cell's state 1 is map `current` as it is."""

    kind: str
    filters: int
    stride: int
    current: int
    previous: int | None


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """The cells in order, and the map that an auxiliary classifier would read (None: there is no such place)."""

    rows: tuple[Row, ...]
    auxiliary: int | None

    def json(self) -> list[list[Any]]:
        return [[row.kind, row.filters, row.stride, row.current, row.previous] for row in self.rows]

    @property
    def halvings(self) -> tuple[int, ...]:
        """How often each map, the stem's included, was halved since the stem."""
        found = [0]
        for row in self.rows:
            found.append(found[row.current] + row.stride - 1)
        return tuple(found)


@final
class _Stack:
    """Cells put one on the other, each reading the two maps before it."""

    def __init__(self, previous: int | None) -> None:
        self.rows: list[Row] = []
        self.current, self.previous = 0, previous

    def add(self, kind: str, filters: int, stride: int, hand_on: bool = False) -> None:
        """Put a cell on top; with `hand_on` the next cell gets this one's previous map instead of its current one."""
        self.rows.append(Row(kind, filters, stride, self.current, self.previous))
        if not hand_on:
            self.previous = self.current
        self.current = len(self.rows)

    def layout(self, auxiliary: int | None) -> Layout:
        return Layout(tuple(self.rows), auxiliary)


def inserted(repeats: int, filters: int, reductions: int, imagenet: bool, hand_on: bool = False) -> Layout:
    """NASNet: `repeats` normal cells, a reduction cell, `repeats` normal cells, ..., ending in normal cells.

    The ImageNet stem adds two reduction cells in front, with a quarter and half of the filters. With `hand_on` the
    cell after a reduction reads the map before the one that the reduction read (`skip_reduction_layer_input` of the
    published code: set in the large network, not in the mobile one nor for CIFAR).
    """
    stack = _Stack(previous=None)
    if imagenet:
        stack.add("reduction", filters // 4, 2)
        stack.add("reduction", filters // 2, 2)
    auxiliary = None
    for stage in range(reductions + 1):
        if stage:
            auxiliary = stack.current
            stack.add("reduction", filters * 2**stage, 2, hand_on)
        for _ in range(repeats):
            stack.add("normal", filters * 2**stage, 1)
    return stack.layout(auxiliary)


def replaced(repeats: int, filters: int, reductions: int, imagenet: bool) -> Layout:
    """PNAS: `repeats` cells per stage, the first of each later stage with stride 2; there is only one kind of cell."""
    stack = _Stack(previous=None)
    if imagenet:
        stack.add("cell", filters // 4, 2)
        stack.add("cell", filters // 2, 2)
    auxiliary = None
    for stage in range(reductions + 1):
        for repeat in range(repeats):
            halve = stage > 0 and repeat == 0
            auxiliary = stack.current if halve else auxiliary
            stack.add("cell", filters * 2**stage, 2 if halve else 1)
    return stack.layout(auxiliary)


def spread(cells: int, filters: int, reductions: int) -> Layout:
    """DARTS: `cells` cells in all, a reduction cell after each third (if two); the first cell reads the stem twice."""
    stack = _Stack(previous=0)
    places = [cells * i // (reductions + 1) for i in range(1, reductions + 1)]
    auxiliary = None
    for index in range(cells):
        halve = index in places
        stage = sum(place <= index for place in places)
        stack.add("reduction" if halve else "normal", filters * 2**stage, 2 if halve else 1)
        auxiliary = stack.current if halve else auxiliary
    return stack.layout(auxiliary)
