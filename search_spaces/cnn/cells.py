"""Block, Cell: the wiring of a cell as data, its canonical key, and all the ways to add a block.

The states of a cell are numbered: 0 is the output of the previous cell, 1 the output of the cell before that one, and
2, 3, ... are the outputs of the cell's own blocks in order. (DARTS' published code numbers the two inputs the other way
round.) A *wiring* is a cell in integers, one `(input1, operation1, input2, operation2)` per block, with operations as
indices into the space's list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, final

from search_spaces.space import Graph, Node

BlockTokens: TypeAlias = tuple[int, int, int, int]
Wiring: TypeAlias = Sequence[BlockTokens]
Key: TypeAlias = tuple[int, ...]

INPUTS = 2


@final
@dataclass(frozen=True, slots=True)
class Block:
    """Two operations, the state that each reads, and how their outputs are combined (`add` or `concat`)."""

    operation1: str
    input1: int
    operation2: str
    input2: int
    combine: str = "add"

    @property
    def halves(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Each operation with the state that it reads."""
        return (self.operation1, self.input1), (self.operation2, self.input2)


@final
@dataclass(frozen=True, slots=True)
class Cell:
    """Blocks, and the states whose concatenation is the cell's output."""

    blocks: tuple[Block, ...]
    concat: tuple[int, ...]

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Cell:
        """The cell that concatenates the outputs of the blocks that no block reads, as searched cells do."""
        return cls(tuple(blocks), unused([(b.input1, b.input2) for b in blocks]))

    def json(self) -> dict[str, Any]:
        """What a blueprint carries: one list per block, and the states that are concatenated."""
        blocks = [[b.operation1, b.input1, b.operation2, b.input2, b.combine] for b in self.blocks]
        return {"blocks": blocks, "concat": list(self.concat)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Cell:
        """The cell that `json` gave."""
        return cls(tuple(Block(*block) for block in record["blocks"]), tuple(record["concat"]))

    def graph(self) -> Graph:
        """The cell to be drawn: its two inputs, an operation per half block, a combination per block, the output."""
        states = ["previous", "before", *(f"block{i + 1}" for i in range(len(self.blocks)))]
        nodes = [Node("previous", "previous cell"), Node("before", "cell before that")]
        edges = []
        for index, block in enumerate(self.blocks):
            name = states[INPUTS + index]
            for half, (operation, source) in enumerate(block.halves, start=1):
                nodes.append(Node(f"{name}.{half}", operation))
                edges += [(states[source], f"{name}.{half}"), (f"{name}.{half}", name)]
            nodes.append(Node(name, block.combine))
        nodes.append(Node("output", "concat"))
        edges += [(states[state], "output") for state in self.concat]
        return Graph(tuple(nodes), tuple(edges))


def unused(inputs: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The states of the blocks that no block reads, given what each block reads."""
    read = {state for pair in inputs for state in pair}
    return tuple(state for state in range(INPUTS, INPUTS + len(inputs)) if state not in read)


def canonical_key(wiring: Wiring, marks: Sequence[int] = ()) -> Key:
    """A key that wirings share exactly when they are isomorphic: halves swapped, blocks reordered, nothing else.

    `marks` holds one small number per block for what else tells blocks apart (how they combine). The blocks are
    placed one by one, always the one with the smallest description among those whose inputs are placed; the
    descriptions in that order rebuild the cell. Where two have the same description (the same operations on the same
    states; which of them is read later matters) every order is tried and the smallest key taken.
    """
    places = [0, 1] + [-1] * len(wiring)
    waiting = list(range(len(wiring)))
    key: list[int] = []
    for place in range(INPUTS, INPUTS + len(wiring)):
        least, chosen, tied = -1, -1, False
        for block in waiting:
            input1, operation1, input2, operation2 = wiring[block]
            place1, place2 = places[input1], places[input2]
            if place1 < 0 or place2 < 0:
                continue
            half1, half2 = place1 << 10 | operation1, place2 << 10 | operation2
            description = half1 << 20 | half2 if half1 < half2 else half2 << 20 | half1
            if marks:
                description |= marks[block] << 40
            if chosen < 0 or description < least:
                least, chosen, tied = description, block, False
            elif description == least:
                tied = True
        if tied:
            return tuple(key) + _least_key(wiring, marks, places, waiting)
        places[INPUTS + chosen] = place
        waiting.remove(chosen)
        key.append(least)
    return tuple(key)


def _least_key(wiring: Wiring, marks: Sequence[int], places: list[int], waiting: list[int]) -> Key:
    """The smallest key of the blocks in `waiting`, over every order that the ties between them allow."""
    if not waiting:
        return ()
    described = {}
    for block in waiting:
        input1, operation1, input2, operation2 = wiring[block]
        place1, place2 = places[input1], places[input2]
        if place1 >= 0 and place2 >= 0:
            low, high = sorted((place1 << 10 | operation1, place2 << 10 | operation2))
            described[block] = low << 20 | high | (marks[block] << 40 if marks else 0)
    least = min(described.values())
    place = INPUTS + len(wiring) - len(waiting)
    rests = []
    for block, description in described.items():
        if description == least:
            placed = places.copy()
            placed[INPUTS + block] = place
            rests.append(_least_key(wiring, marks, placed, [other for other in waiting if other != block]))
    return (least, *min(rests))


@cache
def expansions(states: int, operations: int) -> tuple[BlockTokens, ...]:
    """Every block that can read `states` states with `operations` operations, halves unordered.

    With 8 operations: 136 for a first block (2 states), 300 for a second, 1,176 for a fifth.
    """
    halves = [(state, operation) for state in range(states) for operation in range(operations)]
    return tuple((*first, *second) for i, first in enumerate(halves) for second in halves[i:])
