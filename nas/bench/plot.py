"""plot: the curves of several searchers side by side, medians with quartiles as bands, as one SVG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from nas.bench.curves import Curves
from nas.reports.chart import HEIGHT, WIDTH, Axis, Band, Layer, Line, chart

COLOURS = ("#2563eb", "#d9680b", "#0f9d6b", "#b5179e", "#6b7280", "#c02626", "#0891b2", "#8a6d00")
ON_DARK = ("#6ea8ff", "#ffa657", "#4bd6a0", "#ff7ad9", "#a1adbf", "#ff8a8a", "#4cc9f0", "#e3c04b")
TITLE = 40.0  # the height of the title
SETTLED = 10  # the scale begins where the worst searcher is after one tenth of its trials

_STYLE = """
svg { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif }
.page { fill: #ffffff } .title { font-size: 15px; font-weight: 600; fill: #111827 }
.grid { stroke: #e3e7ee } .axis, .mark { stroke: #566074 } .tick, .name { fill: #566074 }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round } .band { fill-opacity: .14; stroke: none }
.label { font-weight: 600; paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
"""
_DARK = """
.page { fill: #0d1117 } .title { fill: #e8ecf3 } .grid { stroke: #2a3342 } .axis, .mark { stroke: #a1adbf }
.tick, .name { fill: #a1adbf } .label { stroke: #0d1117 }
"""


def plot(title: str, found: Mapping[str, Curves], measures: Mapping[str, str]) -> str:
    """A panel for each of `measures` (a field of `Trace`: what its axis is called), by trial."""
    return page(title, [_panel(found, name, called) for name, called in measures.items()])


def page(title: str, panels: Sequence[str]) -> str:
    """Charts side by side as one file; the styles `s0` to `s7` have the colours."""
    width, height = WIDTH * len(panels), HEIGHT + TITLE
    placed = [
        f'<svg x="{place * WIDTH:.0f}" y="{TITLE:.0f}" width="{WIDTH:.0f}" height="{HEIGHT:.0f}">\n{one}\n</svg>'
        for place, one in enumerate(panels)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}">',
            f"<style>{_style()}</style>",
            f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
            f'<text class="title" x="16" y="26">{escape(title)}</text>',
            *placed,
            "</svg>\n",
        ]
    )


def _panel(found: Mapping[str, Curves], measure: str, called: str) -> str:
    bands: list[Layer] = []
    lines: list[Layer] = []
    for place, (name, curves) in enumerate(found.items()):
        style = f"s{place % len(COLOURS)}"
        low, middle, high = (curves.quantile(measure, share) for share in (0.25, 0.5, 0.75))
        edges = enumerate(zip(low, high, strict=True), 1)
        bands.append(Band([(float(x), a, b) for x, (a, b) in edges if a is not None and b is not None], style))
        points = [(float(x), y) for x, y in enumerate(middle, 1) if y is not None]
        lines.append(Line(points, style, name))
    low_end, high_end = _window(found, measure)
    across, down = Axis("trials", 1.0, whole=True), Axis(called, low_end, high_end)
    return chart(f"{called}, median and quartiles over runs", across, down, [*bands, *lines])


def _window(found: Mapping[str, Curves], measure: str) -> tuple[float | None, float | None]:
    """The part of the scale between where searchers are after a few trials and where they end."""
    corners = []
    for curves in found.values():
        for share in (0.25, 0.75):
            series = curves.quantile(measure, share)
            corners += _known([series[len(series) // SETTLED], series[-1]])
    if not corners:
        return None, None
    room = (max(corners) - min(corners)) * 0.06 or abs(max(corners)) * 0.05 or 0.5
    return min(corners) - room, max(corners) + room


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _style() -> str:
    dark = "\n".join([_DARK, *_colours(ON_DARK)])
    return "\n".join([_STYLE, *_colours(COLOURS), f"@media (prefers-color-scheme: dark) {{{dark}}}"])


def _colours(colours: Sequence[str]) -> list[str]:
    return [
        f".line.s{place} {{ stroke: {one} }} .band.s{place}, .label.s{place} {{ fill: {one} }}"
        for place, one in enumerate(colours)
    ]
