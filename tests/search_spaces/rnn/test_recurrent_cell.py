"""The tables of recurrent cells: how many there are, which of them are the same, and how they grow."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import comb, factorial
from random import Random
from typing import Any

import networkx  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate
from search_spaces.rnn.cell_families import cell_key
from search_spaces.rnn.published_cells import CELLS
from search_spaces.rnn.recurrent_cell import RecurrentCellSpace

TINY = {
    "graph": RecurrentCellSpace(cell="graph", nodes=[3, 4], output="loose_ends", activations=["tanh", "relu"]),
    "tree": RecurrentCellSpace(cell="tree", base=4, activations=["tanh"]),
    "gated": RecurrentCellSpace(cell="gated", nodes=4, kinds=["linear", "linear_both", "product", "one_minus"]),
    "states": RecurrentCellSpace(cell="gated", nodes=[3, 4], states=3, kinds=["add", "tanh"]),
}


def gated_graph(cell: Mapping[str, Any]) -> networkx.MultiDiGraph:
    """What reads what, several times if need be; what a state becomes; what is averaged."""
    graph = networkx.MultiDiGraph()
    graph.add_node("inputs", label="inputs")
    graph.add_node("output", label="output")
    for place, after in enumerate(cell["states"], start=1):
        graph.add_node(f"state{place}", label="state")
        graph.add_edge(after, f"state{place}", label="becomes")
    for place, (kind, *sources) in enumerate(cell["nodes"], start=1):
        graph.add_node(f"node{place}", label=kind)
        for source in sources:
            graph.add_edge(source, f"node{place}", label="read")
    for node in cell["output"]:
        graph.add_edge(node, "output", label="averaged")
    return graph


def graph_graph(cell: Mapping[str, Any]) -> networkx.MultiDiGraph:
    graph = networkx.MultiDiGraph()
    graph.add_node(0, label="begin")
    graph.add_node("output", label="output")
    for place, (activation, source) in enumerate(cell["nodes"], start=1):
        graph.add_node(place, label=activation)
        graph.add_edge(source, place, label="read")
    for node in cell["output"]:
        graph.add_edge(node, "output", label="averaged")
    return graph


def tree_graph(cell: Mapping[str, Any]) -> networkx.MultiDiGraph:
    graph = networkx.MultiDiGraph()
    leaves = (len(cell["nodes"]) + 1) // 2
    for index, pair in enumerate(cell["nodes"]):
        graph.add_node(index, label=str(pair))
        if index >= leaves:
            for side in range(2):
                graph.add_edge(2 * (index - leaves) + side, index, label="read")
    graph.add_node("inject", label=f"inject {cell['inject']}")
    graph.add_node("memory", label="memory")
    graph.add_edge("inject", cell["injected"], label="inject")
    graph.add_edge(cell["memory"], "memory", label="memory")
    return graph


GRAPHS = {"graph": graph_graph, "tree": tree_graph, "gated": gated_graph}


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return bool(
        networkx.is_isomorphic(
            GRAPHS[first["family"]](first),
            GRAPHS[second["family"]](second),
            node_match=lambda a, b: a["label"] == b["label"],
            edge_match=lambda a, b: sorted(x["label"] for x in a.values()) == sorted(x["label"] for x in b.values()),
        )
    )


@pytest.mark.parametrize("name", TINY)
@given(seed=st.integers(0, 1 << 30), changes=st.integers(0, 3))
def test_keys_are_equal_exactly_for_isomorphic_cells(name: str, seed: int, changes: int) -> None:
    space, generator = TINY[name], Random(seed)
    first = space.decisions.sample(generator)
    second = space.decisions.sample(generator) if not changes else first
    for _ in range(changes):
        second = space.decisions.mutate(second, generator)
    alike = same(space.cell_of(first), space.cell_of(second))
    assert (space.canonical(first) == space.canonical(second)) == alike


def reordered(cell: Mapping[str, Any], generator: Random) -> dict[str, Any]:
    """A gated cell with nodes in another order that reads nothing late, both sides swapped, and states renamed."""
    waiting, order = set(range(1, len(cell["nodes"]) + 1)), list[int]()
    while waiting:
        ready = [
            node
            for node in sorted(waiting)
            if not any(f"node{other}" in cell["nodes"][node - 1][1:] for other in waiting)
        ]
        order.append(generator.choice(ready))
        waiting.remove(order[-1])
    states = generator.sample(range(1, len(cell["states"]) + 1), len(cell["states"]))
    names = {f"node{node}": f"node{place}" for place, node in enumerate(order, start=1)}
    names |= {f"state{state}": f"state{place}" for place, state in enumerate(states, start=1)}
    nodes = []
    for node in order:
        kind, *sources = cell["nodes"][node - 1]
        nodes.append([kind, *(names.get(source, source) for source in reversed(sources))])
    output = [names[one] for one in cell["output"]]
    after = [names.get(cell["states"][state - 1], cell["states"][state - 1]) for state in states]
    return {"family": "gated", "nodes": nodes, "output": output, "states": after}


@given(seed=st.integers(0, 1 << 30))
def test_reordering_a_gated_cell_keeps_its_key(seed: int) -> None:
    generator, space = Random(seed), RecurrentCellSpace(cell="gated", states=3)
    drawn = space.cell_of(space.decisions.sample(generator))
    published = [cell for cell in CELLS.values() if cell["family"] == "gated"]
    for cell in (drawn, generator.choice(published)):
        assert cell_key(reordered(cell, generator)) == cell_key(cell)


def test_published_cells_are_different() -> None:
    assert len({cell_key(cell) for cell in CELLS.values()}) == len(CELLS)


@pytest.mark.parametrize("name", CELLS)
def test_published_cells_are_points_of_the_space(name: str) -> None:
    cell = CELLS[name]
    options: dict[str, dict[str, Any]] = {
        "tree": {"base": 2},
        "graph": {"nodes": len(cell["nodes"]), "output": "loose_ends" if name == "enas" else "mean"},
        "gated": {"nodes": len(cell["nodes"])},
    }
    space = RecurrentCellSpace(cell=cell["family"], **options[cell["family"]])
    assert space.cell_of(space.candidate_of(name)) == cell


def test_a_cell_of_elsewhere_is_refused() -> None:
    with pytest.raises(DecisionError, match="not in this space"):
        RecurrentCellSpace(nodes=7).candidate_of("darts_v2")
    with pytest.raises(DecisionError, match="where it would be"):
        RecurrentCellSpace(output="loose_ends").candidate_of("darts_v2")
    with pytest.raises(DecisionError, match="gated cell"):
        RecurrentCellSpace().candidate_of("lstm")
    with pytest.raises(DecisionError, match="no published cell"):
        RecurrentCellSpace().candidate_of("ltsm")


def test_the_tree_s_table_is_as_large_as_the_paper_says() -> None:
    """About 6e16: combination and activation of 15 nodes and of the injection, and two of 15 nodes."""
    assert RecurrentCellSpace(cell="tree").decisions.size() == 8**16 * 15**2 == 63331869759897600


def test_the_graph_s_table_counts_activations_and_readings() -> None:
    assert RecurrentCellSpace().decisions.size() == 4**8 * factorial(8)


def test_there_are_as_many_trees_as_burnside_counts() -> None:
    """Swapping the leaves of base 2 is the only symmetry: half of all cells and of those that it leaves as they are."""
    space = RecurrentCellSpace(cell="tree", base=2, activations=["tanh", "relu"])
    keys = {space.canonical(one) for one in every(space)}
    pairs = 2 * 2
    cells, symmetric = pairs**4 * 3 * 3, pairs**3
    assert space.decisions.size() == cells
    assert len(keys) == (cells + symmetric) // 2


def every(space: RecurrentCellSpace) -> list[Candidate]:
    names = list(space.decisions)
    points = [space.decisions[name].points for name in names]
    return [Candidate(dict(zip(names, values, strict=True))) for values in product(*points)]


def forests(nodes: int, colours: int) -> int:
    """How many forests of rooted trees there are, each node of one colour: Euler's transform, as in Cayley 1857."""
    trees, found = [0, colours], [1]
    for size in range(1, nodes + 1):
        if size > 1:
            trees.append(colours * found[size - 1])
        found.append(_multisets(trees, size))
    return found[nodes]


def _multisets(trees: list[int], size: int, largest: int | None = None) -> int:
    """How many multisets of trees have `size` nodes in all, none of the trees more than `largest`."""
    largest = size if largest is None else largest
    if size == 0 or largest == 0:
        return int(size == 0)
    return sum(
        comb(trees[largest] + many - 1, many) * _multisets(trees, size - many * largest, largest - 1)
        for many in range(size // largest + 1)
    )


def test_forests_are_counted_as_is_known() -> None:
    """Rooted trees of n + 1 nodes without their root: 1, 2, 4, 9, 20, 48, 115, 286."""
    assert [forests(nodes, 1) for nodes in range(1, 9)] == [1, 2, 4, 9, 20, 48, 115, 286]


@pytest.mark.parametrize(("nodes", "activations"), [(6, ["tanh"]), (4, ["tanh", "relu"])])
def test_there_are_as_many_graph_cells_as_forests(nodes: int, activations: list[str]) -> None:
    space = RecurrentCellSpace(nodes=nodes, activations=activations)
    assert len({space.canonical(one) for one in every(space)}) == forests(nodes, len(activations))


def test_a_graph_grows_from_the_least_cells_to_all_of_them() -> None:
    space = RecurrentCellSpace(nodes=[1, 2, 3], activations=["tanh", "relu"])
    assert space.progressive
    level = list(space.smallest())
    assert len(level) == 2
    for nodes in (2, 3):
        level = [grown for one in level for grown in space.grow(one)]
        assert len({space.canonical(one) for one in level}) == forests(nodes, 2)
    assert not list(space.grow(level[0]))


def test_growing_keeps_what_a_task_decided() -> None:
    space = RecurrentCellSpace(nodes=[2, 3])
    first = next(iter(space.smallest()))
    for one in space.grow(Candidate({"learning_rate": 0.1, **first})):
        assert {**one, **first} == {**one, "nodes": 2}
        assert one["learning_rate"] == 0.1


def test_only_graphs_grow() -> None:
    """Of gated cells there are too many one node larger, and trees double."""
    assert not RecurrentCellSpace(cell="gated", nodes=[3, 4]).progressive
    assert not RecurrentCellSpace(cell="tree").progressive
    assert not RecurrentCellSpace().progressive


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "star"}, "tree, graph, gated"),
        ({"cell": "tree", "base": 6}, "2, 4, 8"),
        ({"cell": "tree", "nodes": 6}, "no option of a tree cell"),
        ({"nodes": [3, 2]}, "rise"),
        ({"nodes": 0}, "from 1 on"),
        ({"activations": ["tan"]}, "tanh, relu"),
        ({"output": "last"}, "mean or loose_ends"),
        ({"cell": "gated", "states": 0}, "at least 1"),
        ({"cell": "gated", "kinds": []}, "linear_inputs"),
        ({"hidden": 0}, "at least 1"),
        ({"dropout_input": 1.0}, "below 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        RecurrentCellSpace(**options)
