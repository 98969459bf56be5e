"""Drawing: a graph as a picture (SVG) and as text for a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import TypeAlias
from xml.sax.saxutils import escape, quoteattr

from nas.layout import Box, Layout, Route, Size, layered
from search_spaces.space import Graph, Node

Colours: TypeAlias = tuple[str, str, str]  # fill, border, text
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"
TEXT = 13.0
MARGIN = 16.0
LINE = "#7486a0"  # legible on white and on a dark page
COLOURS: Mapping[str, Colours] = {
    "input": ("#e2e8f0", "#64748b", "#0f172a"),
    "combine": ("#ffffff", "#475569", "#0f172a"),
    "separable": ("#dbeafe", "#3b82f6", "#102a56"),
    "dilated": ("#ede9fe", "#8b5cf6", "#2e1065"),
    "convolution": ("#cffafe", "#0891b2", "#083344"),
    "pooling": ("#fef3c7", "#d97706", "#451a03"),
    "identity": ("#f1f5f9", "#94a3b8", "#1e293b"),
    "dense": ("#fce7f3", "#db2777", "#500724"),
    "cell": ("#dcfce7", "#16a34a", "#052e16"),
    "other": ("#f8fafc", "#64748b", "#0f172a"),
}
WORDS: tuple[tuple[str, str], ...] = (
    ("input", r"\binput|\bimage\b|^previous\b|^cell before|\bh_?\{?[a-z]-[12]|\bc_?\{?k-[12]|\bcell k-[12]"),
    ("cell", r"\bcell\b|\bnormal\b|\breduction\b|\bblock\b"),
    ("pooling", r"pool|\bavg|\bmax"),
    ("dilated", r"dil|atrous"),
    ("separable", r"sep|depthwise"),
    ("convolution", r"conv|factorized|\bstem\b|\d ?[x×] ?\d"),
    ("identity", r"identity|skip|none|zero"),
    ("dense", r"linear|dense|logits|softmax|classif|output|\bfc\b|head"),
    ("combine", r"^(add|concat|sum|mean|multiply|\+)"),
)


def kind(node: Node) -> str:
    """What sort of operation a label names; decides the colour."""
    label = node.label.lower().replace("_", " ")
    if re.match(WORDS[-1][1], label):
        return "combine"
    return next((name for name, words in WORDS if re.search(words, label)), "other")


def svg(graph: Graph, title: str = "", paper: bool = True) -> str:
    """`graph` as one SVG element, inputs on top; `paper` puts white behind it (leave it out inside a page)."""
    layout = layered(graph, _size)
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    title = _clean(title) or "Graph"
    said = f"{title}: {len(graph.nodes)} nodes, {len(graph.edges)} edges"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label={quoteattr(said)} font-family={quoteattr(FONT)} '
        f'font-size="{TEXT:.0f}">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(_clean(described(graph)))}</desc>",
    ]
    if paper:
        lines.append('<rect width="100%" height="100%" fill="#ffffff"/>')
    lines += _drawn(layout)
    return "\n".join([*lines, "</svg>\n"])


def described(graph: Graph) -> str:
    """`graph` as one sentence per node, for those who cannot see it."""
    into: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
    for source, target in graph.edges:
        into[target].append(source)
    said = (f"{n.name} is {n.label}" + (f" of {', '.join(into[n.name])}" if into[n.name] else "") for n in graph.nodes)
    return ". ".join(said)


def _drawn(layout: Layout) -> list[str]:
    place = f'<g transform="translate({MARGIN:.0f} {MARGIN:.0f})">'
    routes = [_line(route) for route in layout.routes]
    return [place, *routes, *(_box(box) for box in layout.boxes), "</g>"]


def _line(route: Route) -> str:
    """The path of an edge, and a small arrow head at its end."""
    first, *rest = route.points
    path = [f"M{first[0]:.1f} {first[1]:.1f}"]
    before = first
    for i, (x, y) in enumerate(rest):
        if i % 2 == 0:
            path.append(f"V{y:.1f}")
        else:
            bend = (y - before[1]) * 0.55
            path.append(f"C{before[0]:.1f} {before[1] + bend:.1f} {x:.1f} {y - bend:.1f} {x:.1f} {y:.1f}")
        before = (x, y)
    x, y = before
    head = f"M{x:.1f} {y:.1f}l-3.6 -7h7.2z"
    return (
        f'<path d="{"".join(path)}" fill="none" stroke="{LINE}" stroke-width="1.5" stroke-linecap="round"/>'
        f'<path d="{head}" fill="{LINE}"/>'
    )


def _box(box: Box) -> str:
    fill, border, ink = COLOURS[kind(box.node)]
    round_off = box.height / 2 if kind(box.node) in ("combine", "input") else 7.0
    x, y = box.x - box.width / 2, box.y - box.height / 2
    label, name = escape(_label(box.node)), escape(_clean(box.node.name))
    return (
        f"<g><title>{name}: {label}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{round_off:.1f}" '
        f'fill="{fill}" stroke="{border}" stroke-width="1.3"/>'
        f'<text x="{box.x:.1f}" y="{box.y + TEXT * 0.35:.1f}" text-anchor="middle" fill="{ink}">{label}</text></g>'
    )


def _size(node: Node) -> Size:
    width = sum(map(_advance, _label(node))) * TEXT + 26.0
    return max(width, 46.0 if kind(node) == "combine" else 64.0), 30.0


def _advance(letter: str) -> float:
    """About how wide a letter is, in units of the font size; generous, since the reader's font is unknown."""
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    if letter in "iljI.,:;'|!()[] ":
        return 0.36
    return 0.88 if letter in "mwMW@%" else 0.7 if letter.isupper() else 0.6


def _label(node: Node) -> str:
    return _clean(node.label).replace("_", " ")


def _clean(text: str) -> str:
    """`text` without what XML 1.0 forbids (control characters, lone surrogates), on one line."""
    spaced = re.sub(r"[\t\n\r]", " ", text)
    return re.sub(r"[^\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]", "\ufffd", spaced)


_STROKES = {
    # up, down, left, right
    (0, 0, 1, 1): "─", (1, 1, 0, 0): "│", (1, 0, 0, 1): "└", (1, 0, 1, 0): "┘",
    (1, 0, 1, 1): "┴", (1, 1, 0, 1): "├", (1, 1, 1, 0): "┤", (1, 1, 1, 1): "┼",
}  # fmt: skip


def text(graph: Graph, width: int = 100) -> str:
    """`graph` in characters, one node per line, its lines in lanes on the left (as `git log --graph` draws).

    A lane that bends towards a node feeds it; one that a line passes behind (`─│─`) does not. Labels are cut to
    `width` columns; a graph with so many lanes that none is left for labels is drawn wider.
    """
    waiting = _followers(graph)
    lanes: list[str | None] = []
    rows: list[tuple[str, str]] = []
    for node in graph.nodes:
        feeds = [lane for lane, name in enumerate(lanes) if name is not None and node.name in waiting[name]]
        before = list(lanes)
        for lane in feeds:
            source = lanes[lane]
            if source is not None and not waiting[source] - {node.name}:
                lanes[lane] = None
            if source is not None:
                waiting[source].discard(node.name)
        own = _free(lanes, feeds)
        while len(lanes) <= own:
            lanes.append(None)
            before.append(None)
        rows.append((_row(before, lanes, feeds, own), _label(node)))
        lanes[own] = node.name if waiting[node.name] else None
    deep = max((len(row.rstrip()) for row, _ in rows), default=0)
    room = max(width - deep - 2, 12)
    return "".join(f"{row.rstrip():{deep}}  {_cut(label, room)}".rstrip() + "\n" for row, label in rows)


def _followers(graph: Graph) -> dict[str, set[str]]:
    waiting: dict[str, set[str]] = {node.name: set() for node in graph.nodes}
    for source, target in graph.edges:
        waiting[source].add(target)
    return waiting


def _free(lanes: list[str | None], feeds: list[int]) -> int:
    """The lane of a node: one of its own that just ended, else the first that is empty."""
    ended = [lane for lane in feeds if lanes[lane] is None]
    if ended:
        return ended[0]
    return next((lane for lane, name in enumerate(lanes) if name is None), len(lanes))


def _row(before: list[str | None], after: list[str | None], feeds: list[int], own: int) -> str:
    """One line of lanes: the node's dot, the lanes that feed it bent towards it, the others passing."""
    joined = {own, *feeds}
    first, last = min(joined), max(joined)
    drawn = []
    for lane in range(len(after)):
        inside = first <= lane <= last
        if lane == own:
            mark = "●"
        elif lane in feeds:
            mark = _STROKES[1, int(after[lane] is not None), int(lane > first), int(lane < last)]
        elif before[lane] is not None:
            mark = "│"
        else:
            mark = "─" if inside else " "
        drawn.append(mark + ("─" if first <= lane < last else " "))
    return "".join(drawn)


def _cut(label: str, room: int) -> str:
    return label if len(label) <= room else label[: room - 1] + "…"
