"""Drawings: boxes apart, lines downwards, whatever stands in labels; the text drawing read back as edges."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.drawing import described, kind, svg, text
from nas.layout import layered
from search_spaces.space import Graph, Node

SVG = "{http://www.w3.org/2000/svg}"
DIAMOND = Graph(
    (Node("a", "input"), Node("b", "conv_3x3"), Node("c", "max_pool_3x3"), Node("d", "add")),
    (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")),
)


@st.composite
def graphs(draw: st.DrawFn, largest: int = 12) -> Graph:
    """Directed acyclic graphs in topological order, with any text as labels."""
    count = draw(st.integers(1, largest))
    pairs = list(combinations(range(count), 2))
    edges = draw(st.sets(st.sampled_from(pairs), max_size=20)) if pairs else set()
    labels = draw(st.lists(st.text(max_size=12), min_size=count, max_size=count))
    nodes = tuple(Node(f"n{i}", label) for i, label in enumerate(labels))
    return Graph(nodes, tuple((f"n{a}", f"n{b}") for a, b in sorted(edges)))


@given(graphs())
@settings(max_examples=80, deadline=None)
def test_no_two_boxes_touch_and_edges_lead_down(graph: Graph) -> None:
    layout = layered(graph, lambda node: (20.0 + 5 * len(node.label), 30.0))
    for one, other in combinations(layout.boxes, 2):
        across = abs(one.x - other.x) - (one.width + other.width) / 2
        down = abs(one.y - other.y) - (one.height + other.height) / 2
        assert max(across, down) > 1
    for box in layout.boxes:
        assert box.x - box.width / 2 >= -1e-6
        assert box.x + box.width / 2 <= layout.width + 1e-6
        assert box.y + box.height / 2 <= layout.height + 1e-6
    boxes = {box.node.name: box for box in layout.boxes}
    assert {(route.source, route.target) for route in layout.routes} == set(graph.edges)
    for route in layout.routes:
        ys = [y for _, y in route.points]
        assert ys == sorted(ys)
        for name, (x, _) in ((route.source, route.points[0]), (route.target, route.points[-1])):
            assert abs(x - boxes[name].x) <= boxes[name].width / 2


@given(graphs())
@settings(max_examples=80, deadline=None)
def test_no_line_runs_through_a_box_of_another_node(graph: Graph) -> None:
    layout = layered(graph, lambda node: (40.0, 30.0))
    for route in layout.routes:
        for (x, top), (_, bottom) in zip(route.points[::2], route.points[1::2], strict=True):
            for box in layout.boxes:
                if box.node.name not in (route.source, route.target) and top < box.y < bottom:
                    assert abs(x - box.x) > box.width / 2


@given(graphs(), st.text())
@settings(max_examples=80, deadline=None)
def test_an_svg_is_well_formed_and_shows_every_label(graph: Graph, title: str) -> None:
    root = ElementTree.fromstring(svg(graph, title))
    assert root.get("role") == "img"
    assert root.get("aria-label")
    shown = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert len(shown) == len(graph.nodes)
    readable = [node.label for node in graph.nodes if node.label.isascii() and node.label.isprintable()]
    for label in readable:
        assert label.replace("_", " ") in shown


def test_markup_in_a_label_is_only_text() -> None:
    drawn = svg(Graph((Node("<x>", '"/><script>alert(1)</script>&'),), ()), 'a"><b>')
    root = ElementTree.fromstring(drawn)
    assert not list(root.iter(f"{SVG}script"))
    assert "<script" not in drawn


@pytest.mark.parametrize(
    ("label", "sort"),
    [
        ("previous cell", "input"),
        ("separable_5x5", "separable"),
        ("dilated_separable_3x3", "dilated"),
        ("max_pool_3x3", "pooling"),
        ("identity", "identity"),
        ("factorized_7x7", "convolution"),
        ("add", "combine"),
        ("concat", "combine"),
        ("something else", "other"),
    ],
)
def test_kinds_of_operations_have_their_colours(label: str, sort: str) -> None:
    assert kind(Node("n", label)) == sort


def test_a_graph_is_told_in_words() -> None:
    assert described(DIAMOND) == "a is input. b is conv_3x3 of a. c is max_pool_3x3 of a. d is add of b, c"


def test_text_looks_like_this() -> None:
    assert text(DIAMOND).splitlines() == [
        "●    input",
        "├─●  conv 3x3",
        "● │  max pool 3x3",
        "●─┘  add",
    ]


def read_back(drawn: str, graph: Graph) -> set[tuple[str, str]]:
    """The edges that a text drawing shows: which lanes are joined to each node's dot."""
    lanes: dict[int, str] = {}
    edges = set()
    for line, node in zip(drawn.splitlines(), graph.nodes, strict=True):
        own = line.index("●")
        for place, mark in enumerate(line[: 2 * len(graph.nodes)]):
            if mark in "├┤└┘┴┼" and place in lanes:
                edges.add((lanes[place], node.name))
                if mark in "└┘┴":
                    del lanes[place]
        if own in lanes:
            edges.add((lanes[own], node.name))
        if any(source == node.name for source, _ in graph.edges):
            lanes[own] = node.name
        else:
            lanes.pop(own, None)
    return edges


@given(graphs(largest=9))
@settings(max_examples=150, deadline=None)
def test_the_text_drawing_shows_exactly_the_edges(graph: Graph) -> None:
    plain = Graph(tuple(Node(node.name, "x") for node in graph.nodes), graph.edges)
    assert read_back(text(plain), plain) == set(graph.edges)


def test_a_cell_of_five_blocks_fits_in_eighty_columns() -> None:
    nodes, edges = [Node("h0", "previous cell"), Node("h1", "cell before")], []
    for block in range(2, 7):
        for side in "lr":
            nodes.append(Node(f"{block}{side}", "dilated_separable_5x5"))
            edges += [(f"h{block % 2}", f"{block}{side}"), (f"{block}{side}", f"h{block}")]
        nodes.append(Node(f"h{block}", "add"))
    nodes.append(Node("out", "concat"))
    edges += [(f"h{block}", "out") for block in range(2, 7)]
    drawn = text(Graph(tuple(nodes), tuple(edges)), 80)
    assert max(map(len, drawn.splitlines())) <= 80
    assert drawn.count("dilated separable 5x5") == 10


def test_long_labels_are_cut_to_the_width() -> None:
    drawn = text(Graph((Node("a", "x" * 200),), ()), 40)
    assert len(drawn.splitlines()[0]) <= 40
    assert re.search("x…$", drawn)
