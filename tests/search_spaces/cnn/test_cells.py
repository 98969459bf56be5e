"""Canonical keys against networkx, and the numbers of cells that PNAS states."""

from __future__ import annotations

from itertools import permutations

import networkx  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.cnn.cells import Block, BlockTokens, Cell, canonical_key, expansions
from search_spaces.cnn.pnas import PnasSpace


@st.composite
def wirings(draw: st.DrawFn, blocks: int | None = None, operations: int = 2) -> tuple[BlockTokens, ...]:
    """Few operations, so that isomorphic cells and twins are common."""
    count = draw(st.integers(1, 5)) if blocks is None else blocks
    found = []
    for block in range(count):
        states, names = st.integers(0, block + 1), st.integers(0, operations - 1)
        found.append((draw(states), draw(names), draw(states), draw(names)))
    return tuple(found)


def as_graph(wiring: tuple[BlockTokens, ...], marks: tuple[int, ...] = ()) -> networkx.DiGraph:
    """The cell with a vertex per state and one per operation, which is what isomorphism is about."""
    graph = networkx.DiGraph()
    graph.add_node(0, label="first input")
    graph.add_node(1, label="second input")
    for state, (input1, operation1, input2, operation2) in enumerate(wiring, start=2):
        graph.add_node(state, label=f"block {marks[state - 2] if marks else 0}")
        for half, (source, operation) in enumerate(((input1, operation1), (input2, operation2))):
            graph.add_node((state, half), label=operation)
            graph.add_edge(source, (state, half))
            graph.add_edge((state, half), state)
    return graph


def isomorphic(first: networkx.DiGraph, second: networkx.DiGraph) -> bool:
    return bool(networkx.is_isomorphic(first, second, node_match=lambda a, b: a["label"] == b["label"]))


def reordered(wiring: tuple[BlockTokens, ...], order: tuple[int, ...]) -> tuple[BlockTokens, ...] | None:
    """The blocks in another order, halves swapped in every second; None where one would read a later block."""
    places = {0: 0, 1: 1, **{block + 2: place + 2 for place, block in enumerate(order)}}
    moved = []
    for place, block in enumerate(order):
        input1, operation1, input2, operation2 = wiring[block]
        halves = [(places[input1], operation1), (places[input2], operation2)]
        if max(halves[0][0], halves[1][0]) >= place + 2:
            return None
        first, second = halves if place % 2 else halves[::-1]
        moved.append((*first, *second))
    return tuple(moved)


@given(st.integers(1, 4).flatmap(lambda blocks: st.tuples(wirings(blocks), wirings(blocks))))
def test_keys_are_equal_exactly_for_isomorphic_cells(pair: tuple[tuple[BlockTokens, ...], ...]) -> None:
    first, second = pair
    assert (canonical_key(first) == canonical_key(second)) == isomorphic(as_graph(first), as_graph(second))


@given(wirings(), st.data())
def test_reordering_and_swapping_keep_the_key(wiring: tuple[BlockTokens, ...], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(wiring))))
    if (moved := reordered(wiring, tuple(order))) is not None:
        assert canonical_key(moved) == canonical_key(wiring)


def test_blocks_that_look_alike_may_come_in_any_order() -> None:
    wiring = ((0, 1, 1, 0), (0, 1, 1, 0), (2, 0, 2, 0))  # of the twins, only one is read
    moved = [reordered(wiring, order) for order in permutations(range(3))]
    assert {canonical_key(one) for one in moved if one is not None} == {canonical_key(wiring)}


@given(wirings(blocks=3, operations=1), st.tuples(*[st.integers(0, 1)] * 3), st.tuples(*[st.integers(0, 1)] * 3))
def test_marks_tell_blocks_apart(
    wiring: tuple[BlockTokens, ...], first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    same = canonical_key(wiring, first) == canonical_key(wiring, second)
    assert same == isomorphic(as_graph(wiring, first), as_graph(wiring, second))


def test_all_small_cells_fall_into_the_classes_that_networkx_finds() -> None:
    """Every cell of two blocks and two operations, and of three blocks and one operation."""
    for operations, blocks in ((2, 2), (1, 3)):
        cells: list[tuple[BlockTokens, ...]] = [()]
        for block in range(blocks):
            cells = [(*cell, tokens) for cell in cells for tokens in expansions(block + 2, operations)]
        classes: dict[tuple[int, ...], networkx.DiGraph] = {}
        for cell in cells:
            graph = as_graph(cell)
            key = canonical_key(cell)
            assert isomorphic(graph, classes.setdefault(key, graph))
        kept = list(classes.values())
        assert not any(isomorphic(a, b) for i, a in enumerate(kept) for b in kept[i + 1 :])


def test_twins_are_two_different_blocks() -> None:
    twins = ((0, 0, 0, 0), (0, 0, 0, 0))
    assert canonical_key((*twins, (2, 1, 2, 1))) != canonical_key((*twins, (2, 1, 3, 1)))
    keys = set()
    for order in permutations(range(4)):
        moved = reordered((*twins, (2, 1, 3, 1), (3, 0, 0, 1)), order)
        keys |= {canonical_key(moved)} if moved else set()
    assert len(keys) == 1


def test_published_numbers_of_cells() -> None:
    published = PnasSpace()
    assert len({published.canonical(c) for c in published.smallest()}) == len(list(published.smallest())) == 136
    ordered = (2 * 8) ** 2
    assert ordered == 256
    assert [len(expansions(1 + b, 8)) for b in (1, 2, 3, 4, 5)] == [136, 300, 528, 820, 1176]
    demo = PnasSpace(operations=("identity", "separable_3x3", "max_pool_3x3", "average_pool_3x3"), blocks=3)
    assert len({demo.canonical(c) for c in demo.smallest()}) == len(list(demo.smallest())) == 36


def test_searched_cells_concatenate_what_nobody_reads() -> None:
    cell = Cell.of([Block("identity", 0, "identity", 1), Block("identity", 2, "identity", 0)])
    assert cell.concat == (3,)
    assert Cell.from_json(cell.json()) == cell


@given(wirings(operations=8))
def test_wirings_and_candidates_are_two_forms_of_one_cell(wiring: tuple[BlockTokens, ...]) -> None:
    space = PnasSpace()
    candidate = space.candidate_of(wiring)
    assert space.decisions.candidate(candidate.json()) == candidate
    assert space.wiring(candidate) == wiring
    assert space.key(wiring) == space.canonical(candidate)
    if len(wiring) < 5:
        tokens = space.expansions(candidate)[-1]
        assert space.wiring(space.extend(candidate, tokens)) == (*wiring, tokens)
    else:
        assert not space.expansions(candidate)


def test_a_grown_candidate_keeps_what_belongs_to_its_task() -> None:
    space = PnasSpace(blocks=2)
    start = next(space.smallest())
    grown = next(space.grow(type(start)({**start, "learning_rate": 0.1})))
    assert grown["learning_rate"] == 0.1
    assert grown["blocks"] == 2
