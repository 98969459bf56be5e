"""Networks of layers: wiring as Zoph & Le describe it, keys against networkx, growth."""

from __future__ import annotations

from random import Random

import networkx  # type: ignore[import-untyped]
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.cnn.layers import LayersSpace
from search_spaces.ordering import Vertex, canonical_order
from search_spaces.space import Signature

DIGITS = Signature("image_classification", {"image": (1, 8, 8)}, {"logits": (10,)})


@st.composite
def graphs(draw: st.DrawFn, size: int | None = None) -> list[Vertex]:
    count = draw(st.integers(1, 6)) if size is None else size
    vertices: list[Vertex] = []
    for index in range(1, count + 1):
        sources = draw(st.lists(st.integers(1, index - 1), unique=True)) if index > 1 else []
        vertices.append(((draw(st.integers(0, 1)),), sources))
    return vertices


def as_graph(vertices: list[Vertex]) -> networkx.DiGraph:
    graph = networkx.DiGraph()
    for index, (label, sources) in enumerate(vertices, start=1):
        graph.add_node(index, label=label)
        graph.add_edges_from((source, index) for source in sources)
    return graph


@given(st.integers(1, 5).flatmap(lambda size: st.tuples(graphs(size), graphs(size))))
def test_keys_are_equal_exactly_for_isomorphic_graphs(pair: tuple[list[Vertex], list[Vertex]]) -> None:
    first, second = (as_graph(vertices) for vertices in pair)
    isomorphic = networkx.is_isomorphic(first, second, node_match=lambda a, b: a["label"] == b["label"])
    assert (canonical_order(pair[0]) == canonical_order(pair[1])) == isomorphic


@given(graphs(), st.randoms(use_true_random=False))
def test_any_order_of_the_vertices_gives_the_key(vertices: list[Vertex], random: Random) -> None:
    order: list[int] = []
    while len(order) < len(vertices):
        ready = [i for i, (_, sources) in enumerate(vertices, 1) if i not in order and set(sources) <= set(order)]
        order.append(random.choice(ready))
    places = {vertex: place for place, vertex in enumerate(order, start=1)}
    moved = [(vertices[v - 1][0], [places[s] for s in reversed(vertices[v - 1][1])]) for v in order]
    assert canonical_order(moved) == canonical_order(vertices)


def test_twins_without_number_are_ordered_at_once() -> None:
    """Forty equal layers that all read the image: equal readers make equal twins, not 40! orders."""
    assert len(canonical_order([((1,), [])] * 40)) == 40


def test_a_layer_that_reads_none_reads_the_image_and_unread_ones_reach_the_classifier() -> None:
    space = LayersSpace(depths=(3,))
    values = dict(space.decisions.sample(Random(0)))
    values |= {"layer2_reads1": False, "layer3_reads1": True, "layer3_reads2": False}
    candidate = space.decisions.candidate(values)
    network = space.build(candidate, DIGITS)
    assert network.inputs == [[0], [0], [1]]
    assert network.outputs == [2, 3]
    edges = space.describe(candidate, DIGITS).graphs["network"].edges
    assert ("image", "layer2") in edges
    assert ("layer2", "classifier") in edges
    assert ("layer1", "classifier") not in edges


def test_pools_and_strides_shrink_the_map() -> None:
    space = LayersSpace(depths=(4,), strides=(1, 2, 3), pooling=(3,), skip_connections=False)
    values = dict(space.decisions.sample(Random(0)))
    values |= {f"layer{n}_stride_{side}": 1 for n in (1, 2, 4) for side in ("height", "width")}
    values |= {"layer1_stride_height": 3, "layer2_stride_width": 2}
    assert "layer3_filters" not in values
    network = space.build(space.decisions.candidate(values), DIGITS).eval()
    assert network.features(torch.zeros(1, 1, 9, 16)).shape[2:] == (2, 4)  # type: ignore[operator]


def test_growing_keeps_the_layers_that_are_there() -> None:
    space = LayersSpace(depths=(1, 2, 4), kernels=(1, 3), filters=(8,))
    smallest = list(space.smallest())
    assert len(smallest) == 4
    grown = list(space.grow(smallest[2]))
    assert len(grown) == 4 * 2
    for candidate in grown:
        assert {**candidate, **smallest[2], "depth": 2} == dict(candidate)
    deeper = list(space.grow(grown[0]))
    assert len({space.canonical(one) for one in deeper}) == len(deeper) < (4 * 2**2) * (4 * 2**3)  # layers 3 and 4 swap
    assert all(space.decisions.candidate(one)["depth"] == 4 for one in deeper)
    assert not list(space.grow(deeper[0]))
