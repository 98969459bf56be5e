"""Charts as SVG: scales with round ticks, lines, steps, dots and bars; colours come from the page's style sheet."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias, final
from xml.sax.saxutils import escape, quoteattr

Point: TypeAlias = tuple[float, float]
WIDTH, HEIGHT = 620.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 70.0, 16.0, 14.0, 46.0
CROWD = 500  # dots, above which they are drawn smaller and one per few pixels
LABEL = 17.0  # the least distance of two labels at the ends of lines
LONGEST = 44  # letters of a name that fit beside a chart


@final
@dataclass(frozen=True)
class Scale:
    """From values between `low` and `high` to places between `start` and `stop`; both bounds may be equal."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._of(self.low), self._of(self.high)
        share = 0.5 if high == low else (self._of(value) - low) / (high - low)
        return self.start + share * (self.stop - self.start)

    def _of(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def inside(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self, count: int = 6) -> list[float]:
        """Round values within the bounds, about `count` of them."""
        if not self.log:
            return linear_ticks(self.low, self.high, count)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
            found = [s * 10.0**p for p in powers for s in steps if self.low <= s * 10.0**p <= self.high]
            if len(found) >= 3:
                return found[:: max(1, len(found) // count)]
        return linear_ticks(self.low, self.high, count) or [self.low]


def linear_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten from `low` to `high`."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * s for s in (1, 2, 2.5, 5, 10) if power * s >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [0.0 if i == 0 else i * step for i in range(first, last + 1)]


@final
@dataclass(frozen=True)
class Line:
    """A line through `points`, as steps that hold until the next one where `steps`; named at its right end."""

    points: Sequence[Point]
    style: str
    label: str = ""
    steps: bool = False


@final
@dataclass(frozen=True)
class Dots:
    """Marks at `points`, each with a tooltip; of many in one place only the first is drawn."""

    points: Sequence[Point]
    style: str
    titles: Sequence[str] = ()
    radius: float = 3.0


@final
@dataclass(frozen=True)
class Band:
    """The area between two values for each x: `(x, low, high)`."""

    points: Sequence[tuple[float, float, float]]
    style: str


Layer: TypeAlias = Line | Dots | Band


@final
@dataclass(frozen=True)
class Axis:
    """What an axis shows; bounds that are None are taken from the data, with a little room."""

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    format: Callable[[float], str] = field(default=lambda value: f"{value:g}")
    whole: bool = False


def chart(title: str, x: Axis, y: Axis, layers: Sequence[Layer], described: str = "") -> str:
    """One chart as an SVG element that scales with the page; `described` says in words what it shows."""
    across, down = _scales(x, y, layers)
    clip = f"clip-{zlib.crc32((title + x.label + y.label).encode()):x}"
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label={quoteattr(title)}>',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(described)}</desc>" if described else "",
        f'<clipPath id="{clip}"><rect x="{LEFT - 4}" y="{TOP - 6}" width="{WIDTH - LEFT - RIGHT + 8}" '
        f'height="{HEIGHT - TOP - BOTTOM + 10}"/></clipPath>',
        *_grid(x, y, across, down),
        f'<g clip-path="url(#{clip})">',
        *(_layer(layer, across, down) for layer in layers),
        "</g>",
        *_labels([layer for layer in layers if isinstance(layer, Line) and layer.label], across, down),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part)


def _scales(x: Axis, y: Axis, layers: Sequence[Layer]) -> tuple[Scale, Scale]:
    points = [point for layer in layers for point in _points(layer)]
    names = [layer.label for layer in layers if isinstance(layer, Line) and layer.label]
    room = 8.0 + 6.4 * max(map(len, names)) if names else RIGHT
    across = _scale(x, [point[0] for point in points], LEFT, WIDTH - max(room, RIGHT), 0.02)
    return across, _scale(y, [point[1] for point in points], HEIGHT - BOTTOM, TOP, 0.06)


def _points(layer: Layer) -> Iterable[Point]:
    if isinstance(layer, Band):
        return [(x, value) for x, *values in layer.points for value in values]
    return layer.points


def _scale(axis: Axis, values: Sequence[float], start: float, stop: float, room: float) -> Scale:
    known = [value for value in values if math.isfinite(value) and (value > 0 or not axis.log)] or [1.0]
    low = min(known) if axis.low is None else axis.low
    high = max(known) if axis.high is None else axis.high
    if axis.log:
        ratio = max((high / low) ** room, 1.05)
        low, high = (low / ratio if axis.low is None else low), (high * ratio if axis.high is None else high)
    else:
        spare = (high - low) * room or abs(high) * 0.05 or 0.5
        low, high = (low - spare if axis.low is None else low), (high + spare if axis.high is None else high)
    return Scale(low, high, start, stop, axis.log)


def _grid(x: Axis, y: Axis, across: Scale, down: Scale) -> Iterable[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in down.ticks():
        place = down(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{right:.1f}" y1="{place:.1f}" y2="{place:.1f}"/>'
        said = escape(y.format(value))
        yield f'<text class="tick" x="{LEFT - 8}" y="{place + 4:.1f}" text-anchor="end">{said}</text>'
    for value in across.ticks():
        if x.whole and not float(value).is_integer():
            continue
        place = across(value)
        yield f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{bottom:.1f}" y2="{bottom + 4:.1f}"/>'
        said = escape(x.format(value))
        yield f'<text class="tick" x="{place:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{said}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{right:.1f}" y1="{bottom:.1f}" y2="{bottom:.1f}"/>'
    middle = (LEFT + right) / 2
    yield f'<text class="name" x="{middle:.1f}" y="{HEIGHT - 8:.1f}" text-anchor="middle">{escape(x.label)}</text>'
    height = (TOP + bottom) / 2
    yield (
        f'<text class="name" transform="translate(12 {height:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.label if len(y.label) <= LONGEST else y.label[: LONGEST - 1] + '…')}</text>"
    )


def _layer(layer: Layer, across: Scale, down: Scale) -> str:
    if isinstance(layer, Line):
        return f'<path class="line {layer.style}" d="{_path(layer, across, down)}"/>'
    if isinstance(layer, Band):
        upper = [f"{across(x):.1f} {down(high):.1f}" for x, _, high in layer.points]
        lower = [f"{across(x):.1f} {down(low):.1f}" for x, low, _ in reversed(layer.points)]
        return f'<path class="band {layer.style}" d="M{"L".join(upper + lower)}Z"/>' if upper else ""
    return "\n".join(_dots(layer, across, down))


def _path(line: Line, across: Scale, down: Scale) -> str:
    """The path of a line; points that would fall on the same pixel are drawn once."""
    places = [(across(x), down(y)) for x, y in line.points]
    if line.steps:
        corners = [((b[0], a[1]), b) for a, b in pairwise(places)]
        places = places[:1] + [corner for pair in corners for corner in pair]
    drawn: list[str] = []
    for x, y in places:
        step = f"{x:.1f} {y:.1f}"
        if not drawn or drawn[-1] != step:
            drawn.append(step)
    return "M" + "L".join(drawn) if drawn else ""


def _dots(dots: Dots, across: Scale, down: Scale) -> Iterable[str]:
    """At most one mark per few pixels: thousands of trials stay a small page."""
    taken: set[tuple[int, int]] = set()
    many = len(dots.points) > CROWD
    cell, radius = (6.0, min(dots.radius, 2.2)) if many else (1.0, dots.radius)
    for i, (x, y) in enumerate(dots.points):
        if not (across.inside(x) and down.inside(y)):
            continue
        place = (across(x), down(y))
        key = (round(place[0] / cell), round(place[1] / cell))
        if key in taken:
            continue
        taken.add(key)
        title = f"<title>{escape(dots.titles[i])}</title>" if i < len(dots.titles) else ""
        end = f">{title}</circle>" if title else "/>"
        yield f'<circle class="dot {dots.style}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius:g}"{end}'


def _labels(lines: Sequence[Line], across: Scale, down: Scale) -> Iterable[str]:
    """The names of lines at their right ends, moved apart where they would touch."""
    ends = sorted(((down(line.points[-1][1]), line) for line in lines if line.points), key=lambda end: end[0])
    places: list[float] = []
    for wanted, _ in ends:
        places.append(max(wanted, places[-1] + LABEL) if places else max(wanted, TOP + 4))
    over = places[-1] - (HEIGHT - BOTTOM - 4) if places else 0.0
    if over > 0:
        places = [place - over for place in places]
    for place, (_, line) in zip(places, ends, strict=True):
        x = across(line.points[-1][0]) + 6
        yield f'<text class="label {line.style}" x="{x:.1f}" y="{place + 4:.1f}">{escape(line.label)}</text>'
