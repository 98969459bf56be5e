"""Layout: where the boxes and lines of a drawn graph lie (Sugiyama's layered method, top to bottom)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias, final

from search_spaces.space import Graph, Node

Point: TypeAlias = tuple[float, float]
Size: TypeAlias = tuple[float, float]
Ranks: TypeAlias = list[list[str]]
Links: TypeAlias = Mapping[str, tuple[list[str], list[str]]]
GAP = 46.0  # between two ranks
APART = 18.0  # between two boxes of one rank
SWEEPS = 16
PORTS = 15.0  # between two lines that leave the same box


@final
@dataclass(frozen=True, slots=True)
class Box:
    """A placed node; `x` and `y` are its centre."""

    node: Node
    x: float
    y: float
    width: float
    height: float


@final
@dataclass(frozen=True, slots=True)
class Route:
    """A line from `source` to `target`: points in pairs, straight down within a pair, bent between pairs."""

    source: str
    target: str
    points: tuple[Point, ...]


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing's boxes and lines, and the size of the paper."""

    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]
    width: float
    height: float


def layered(graph: Graph, size: Callable[[Node], Size]) -> Layout:
    """Place `graph` in ranks, so that every edge points down, few cross and no two boxes touch."""
    if not graph.nodes:
        return Layout((), (), 0.0, 0.0)
    edges = list(dict.fromkeys(graph.edges))
    rank = _ranks(graph, edges)
    chains = {edge: _chain(edge, rank) for edge in edges}
    ranks = _order(graph, rank, list(chains.values()))
    nodes = {node.name: node for node in graph.nodes}
    sizes = {name: size(nodes[name]) if name in nodes else (4.0, 0.0) for row in ranks for name in row}
    links = _links(chains.values())
    across = _across(ranks, links, {name: width for name, (width, _) in sizes.items()})
    tall = [max(sizes[name][1] for name in row) for row in ranks]
    down = [sum(tall[:i]) + GAP * i + tall[i] / 2 for i in range(len(ranks))]
    boxes = {
        name: Box(nodes[name], across[name], down[rank[name]], *sizes[name])
        for row in ranks
        for name in row
        if name in nodes
    }
    bands = {name: (down[i] - tall[i] / 2, down[i] + tall[i] / 2) for i, row in enumerate(ranks) for name in row}
    routes = _routes(chains, boxes, across, bands)
    return Layout(tuple(boxes[node.name] for node in graph.nodes), routes, *_paper(boxes.values(), across))


def _paper(boxes: Collection[Box], across: Mapping[str, float]) -> Size:
    right = max(max(box.x + box.width / 2 for box in boxes), max(across.values()) + 4)
    return right, max(box.y + box.height / 2 for box in boxes)


def _ranks(graph: Graph, edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest path to each node; a node with one way in and one way out lies right above where it leads."""
    into, out = defaultdict(list), defaultdict(list)
    for source, target in edges:
        into[target].append(source)
        out[source].append(target)
    rank: dict[str, int] = {}
    for node in graph.nodes:
        rank[node.name] = 1 + max((rank[source] for source in into[node.name]), default=-1)
    for node in reversed(graph.nodes):
        if len(into[node.name]) == 1 and len(out[node.name]) == 1:
            rank[node.name] = rank[out[node.name][0]] - 1
    return rank


def _chain(edge: tuple[str, str], rank: Mapping[str, int]) -> list[str]:
    """An edge as the places it goes through: one per rank, so that long edges get room of their own."""
    source, target = edge
    between = [f"\0{source}\0{target}\0{level}" for level in range(rank[source] + 1, rank[target])]
    return [source, *between, target]


def _links(chains: Iterable[Sequence[str]]) -> Links:
    """The places above and below each place."""
    links: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for chain in chains:
        for upper, lower in pairwise(chain):
            links[lower][0].append(upper)
            links[upper][1].append(lower)
    return links


def _order(graph: Graph, rank: Mapping[str, int], chains: Sequence[list[str]]) -> Ranks:
    """The order within each rank: barycentres, swept down and up, the sweep with fewest crossings wins."""
    ranks: Ranks = [[] for _ in range(1 + max(rank.values()))]
    for node in graph.nodes:
        ranks[rank[node.name]].append(node.name)
    for chain in chains:
        for step, name in enumerate(chain[1:-1], start=1):
            ranks[rank[chain[0]] + step].append(name)
    links = _links(chains)
    best, fewest = [list(row) for row in ranks], _crossings(ranks, links)
    for sweep in range(SWEEPS):
        side = sweep % 2
        rows = ranks if side == 0 else ranks[::-1]
        for before, row in pairwise(rows):
            place = {name: i for i, name in enumerate(before)}
            here = {name: i for i, name in enumerate(row)}
            row.sort(key=lambda name: _mean([place[n] for n in links[name][side]], here[name]))
        if (count := _crossings(ranks, links)) < fewest:
            best, fewest = [list(row) for row in ranks], count
    return best


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(ranks: Ranks, links: Links) -> int:
    """How many pairs of lines cross between neighbouring ranks: inversions of their lower ends."""
    count = 0
    for upper, lower in pairwise(ranks):
        place = {name: i for i, name in enumerate(lower)}
        seen: list[int] = []
        for name in upper:
            ends = [place[n] for n in links[name][1]]
            count += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _across(ranks: Ranks, links: Links, width: Mapping[str, float]) -> dict[str, float]:
    """The x of every place: as near to the mean of its neighbours as its rank allows."""
    x: dict[str, float] = {}
    for row in ranks:
        place = 0.0
        for name in row:
            x[name] = place + width[name] / 2
            place += width[name] + APART
        middle = (place - APART) / 2
        x |= {name: x[name] - middle for name in row}
    for sweep in range(SWEEPS):
        sides = (0, 1) if sweep >= SWEEPS // 2 else (sweep % 2,)
        for row in ranks if sweep % 2 == 0 else ranks[::-1]:
            wanted = [_mean([x[n] for n in _pulls(name, links, sides)], x[name]) for name in row]
            apart = [(width[a] + width[b]) / 2 + APART for a, b in pairwise(row)]
            weights = [4.0 if name.startswith("\0") else 1.0 for name in row]
            x |= dict(zip(row, _spread(wanted, apart, weights), strict=True))
    left = min(x[name] - width[name] / 2 for name in x)
    return {name: place - left for name, place in x.items()}


def _pulls(name: str, links: Links, sides: Sequence[int]) -> list[str]:
    """The neighbours that a place wants to lie below or above.

    A bend of a long edge rather follows other bends, and what brings several lines together lies below their middle.
    """
    if len(links[name][0]) > 1 and len(sides) > 1:
        return links[name][0]
    near = [n for side in sides for n in links[name][side]]
    bends = [n for n in near if n.startswith("\0")] if name.startswith("\0") else []
    return bends or near


def _spread(wanted: Sequence[float], apart: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The places nearest to `wanted` (weighted squares) that keep their order and are `apart`: isotonic regression."""
    offsets = [0.0]
    for gap in apart:
        offsets.append(offsets[-1] + gap)
    blocks: list[tuple[float, float, int]] = []
    for want, offset, weight in zip(wanted, offsets, weights, strict=True):
        value, total, count = want - offset, weight, 1
        while blocks and blocks[-1][0] >= value:
            other, heavy, more = blocks.pop()
            value, total, count = (value * total + other * heavy) / (total + heavy), total + heavy, count + more
        blocks.append((value, total, count))
    flat = [value for value, _, count in blocks for _ in range(count)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


def _routes(
    chains: Mapping[tuple[str, str], list[str]],
    boxes: Mapping[str, Box],
    across: Mapping[str, float],
    bands: Mapping[str, tuple[float, float]],
) -> tuple[Route, ...]:
    leave, arrive = _ports(chains, boxes, across)
    routes = []
    for edge, chain in chains.items():
        source, target = boxes[edge[0]], boxes[edge[1]]
        start = (leave[edge], source.y + source.height / 2)
        end = (arrive[edge], target.y - target.height / 2)
        points = [start, (leave[edge], bands[edge[0]][1])]
        for name in chain[1:-1]:
            top, bottom = bands[name]
            points += [(across[name], top), (across[name], bottom)]
        points += [(arrive[edge], bands[edge[1]][0]), end]
        routes.append(Route(*edge, tuple(points)))
    return tuple(routes)


def _ports(
    chains: Mapping[tuple[str, str], list[str]], boxes: Mapping[str, Box], across: Mapping[str, float]
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Where lines leave and reach their boxes: side by side, in the order of where they come from and go to."""
    places: list[dict[tuple[str, str], float]] = [{}, {}]
    for side, near in ((0, 1), (1, -2)):
        ends = defaultdict(list)
        for edge, chain in chains.items():
            ends[edge[side]].append((across[chain[near]], edge))
        for name, lines in ends.items():
            box = boxes[name]
            step = min(PORTS, (box.width - 16) / max(1, len(lines) - 1)) if len(lines) > 1 else 0.0
            for i, (_, edge) in enumerate(sorted(lines)):
                places[side][edge] = box.x + (i - (len(lines) - 1) / 2) * step
    return places[0], places[1]
