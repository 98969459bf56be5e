"""Figures: the charts of the pages, from what a book has counted; marks and axes are those of reports."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from nas.dashboard.book import Book
from nas.dashboard.occupancy import Span, lanes
from nas.dashboard.thinning import MOST, Thinned
from nas.history import TrialRecord
from nas.quantities import duration
from nas.reports.chart import WIDTH, Axis, Band, Dots, Layer, Line, Point, Scale, chart, linear_ticks
from nas.reports.charts import Arm, Cloud, raced, tick, title, traded, value, words
from nas.reports.page import figure
from workers.objectives import Objective

TOLD = 250  # dots, above which they have no texts of their own
LANES = 24  # workers, above which only their number is drawn
CURVES = 6
LANE = 16.0  # the height of a worker's lane
SHOWN = 120  # attempts drawn one by one
SHORT = {"days": "d", "hours": "h", "minutes": "min", "seconds": "s"}


def race(book: Book) -> str:
    """Best so far of the search and of the random baseline, against the trials of each."""
    if not book.goals or not any(course.dots.seen for course in book.courses.values()):
        return ""
    goal = book.goals[0]
    names = {"own": "search", "rival": "random"}
    rungs = any(course.rungs for course in book.courses.values())
    arms = [
        Arm(names[style], style, course.line, course.dots.points, _texts(course.dots, goal))
        for style, course in book.courses.items()
    ]
    described = words({arm.label: arm.line for arm in arms}, goal)
    return raced(arms, goal, "trials of each arm" + (", by their epochs" if rungs else ""), True, described)


def trade(book: Book) -> str:
    """The Pareto front of the first two objectives, or of the score and the size."""
    edge = book.plain
    if edge is None or len(edge.objectives) < 2 or not edge.seen:
        return ""
    first, second = edge.objectives
    best = _places(edge.records, first, second)
    clouds = [Cloud(style, points.points) for style, points in book.clouds.items()]
    described = f"{len(edge.records):,} of {edge.seen:,} fully trained trials are on the Pareto front"
    return traded((first, second), clouds, best, described)


def _texts(dots: Thinned, goal: Objective) -> Sequence[str]:
    if len(dots.trials) > TOLD:
        return ()
    pairs = zip(dots.trials, dots.points, strict=True)
    return [f"trial {trial}: {value(goal.metric, y)}" for trial, (_, y) in pairs]


def _places(records: Sequence[TrialRecord], first: Objective, second: Objective) -> Sequence[Point]:
    found = [record.result.metrics for record in records if record.result]
    return [(metrics[second.metric], metrics[first.metric]) for metrics in found]


def curves(record: TrialRecord, goals: Sequence[Objective]) -> Sequence[str]:
    """A chart of each metric that the trial's workers reported, by epochs; the objectives first."""
    names = dict.fromkeys(goal.metric for goal in goals)
    for _, metrics in record.curve:
        names |= dict.fromkeys(metrics)
    found: list[str] = []
    for name in names:
        points = [(float(epoch), metrics[name]) for epoch, metrics in record.curve if name in metrics]
        if len(points) < 2 or len(found) == CURVES:
            continue
        points = points[:: max(1, len(points) // MOST)]
        texts = [f"epoch {x:.0f}: {value(name, y)}" for x, y in points] if len(points) <= TOLD else []
        layers: list[Layer] = [Line(points, "own"), Dots(points if texts else [], "strong", texts, 3.0)]
        across, up = Axis("epochs", whole=True), Axis(title(name), format=tick(name))
        drawn = chart(f"{title(name)} of trial {record.trial.id}", across, up, layers)
        found.append(figure(drawn, escape(f"{title(name)} after each epoch")))
    return found


def sparkline(line: Sequence[Point], name: str) -> str:
    """A small line without axes: how the best came about."""
    if len(line) < 2 or line[0][0] == line[-1][0]:
        return ""
    across = Scale(line[0][0], line[-1][0], 2.0, 118.0)
    values = [y for _, y in line]
    down = Scale(min(values), max(values), 24.0, 4.0)
    path = f"M{across(line[0][0]):.1f} {down(line[0][1]):.1f}"
    path += "".join(f"H{across(x):.1f}V{down(y):.1f}" for x, y in line[1:])
    said = f"best {title(name)} rises from {value(name, line[0][1])} to {value(name, line[-1][1])}"
    if line[-1][1] < line[0][1]:
        said = said.replace("rises", "falls")
    return (
        f'<svg class="spark" viewBox="0 0 120 28" role="img" aria-label="{escape(said)}"><path class="line own" '
        f'd="{path}"/><circle class="dot strong" cx="118" cy="{down(line[-1][1]):.1f}" r="2.4"/></svg>'
    )


def busy(book: Book, now: float) -> str:
    """How many slots were busy, over the whole search, beside how many there were."""
    levels = book.occupancy.levels(now, book.spans(now))
    if not levels or not any(level for _, level in levels):
        return ""
    begin = levels[0][0]
    unit, size = _unit(now - begin)
    filled = [((at - begin) / size, level) for at, level in levels]
    filled.append(((now - begin) / size, filled[-1][1]))
    slots = [((max(at, begin) - begin) / size, float(total)) for at, total in book.history.slots[-400:] if at <= now]
    corners = [(at, level) for (_, level), (at, _) in pairwise(filled)]
    stepped = [filled[0], *(point for pair in zip(corners, filled[1:], strict=True) for point in pair)]
    layers: list[Layer] = [Band([(at, 0.0, level) for at, level in stepped], "busy"), Line(filled, "busy", steps=True)]
    if slots:
        layers.append(Line([*slots, ((now - begin) / size, slots[-1][1])], "slots", "slots", steps=True))
    across, up = Axis(f"{unit} since it began", 0.0), Axis("busy slots", 0.0, whole=True)
    return chart("Busy slots", across, up, layers, "the mean number of slots that were busy in each step of time")


def timeline(book: Book, now: float, link: str) -> str:
    """What each worker did lately, a bar for each attempt; nothing where there are too many workers to tell apart."""
    running = book.spans(now)
    spans = sorted([*book.occupancy.latest, *running], key=lambda span: span.end)[-SHOWN:]
    if not spans:
        return ""
    placed = lanes(spans)
    count = max(lane for lane, _ in placed) + 1
    if count > LANES:
        return ""
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    across = Scale(start, max(end, start + 1e-3), 0.0, WIDTH)
    height = count * LANE
    bars = "".join(_bar(lane, span, across, link) for lane, span in placed)
    marks = _clock(across, height, ended=book.state != "running")
    said = f"{len(spans)} attempts on {count} workers in {duration(end - start)}"
    return (
        f'<svg class="chart lanes" viewBox="0 0 {WIDTH:.0f} {height + 20:.0f}" role="img" aria-label="{escape(said)}">'
        f"<title>{escape(said)}</title>{marks}{bars}</svg>"
    )


def _bar(lane: int, span: Span, across: Scale, link: str) -> str:
    left, right = across(span.start), across(span.end)
    said = f"trial {span.trial}: {span.ending}, {duration(span.end - span.start)}"
    return (
        f'<a href="{link}/{span.trial}" tabindex="-1"><rect class="bar {escape(span.ending)}" x="{left:.1f}" '
        f'y="{lane * LANE + 1.5:.1f}" width="{max(1.0, right - left - 0.8):.1f}" height="{LANE - 3:.0f}" rx="2.5">'
        f"<title>{escape(said)}</title></rect></a>"
    )


def _clock(across: Scale, height: float, ended: bool) -> str:
    """Ticks of the timeline, counted back from its end: from now, or from when the search ended."""
    unit, size = _unit(across.high - across.low)
    last, before = ("the end", "before") if ended else ("now", "ago")
    found = []
    for ago in linear_ticks(0.0, (across.high - across.low) / size, 5):
        x = across(across.high - ago * size)
        said = f"{ago:g} {SHORT[unit]} {before}" if ago else last
        found.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height:.0f}"/>')
        if x > 60:  # further left it would be cut
            anchor = "middle" if ago else "end"
            found.append(f'<text class="tick" x="{x:.1f}" y="{height + 14:.0f}" text-anchor="{anchor}">{said}</text>')
    return "".join(found)


def _unit(seconds: float) -> tuple[str, float]:
    """The unit of an axis of time, and how many seconds it is."""
    units: Mapping[str, float] = {"days": 86400.0, "hours": 3600.0, "minutes": 60.0}
    return next(((name, size) for name, size in units.items() if seconds >= 2 * size), ("seconds", 1.0))


def clock(at: float | None) -> str:
    """A time of day as the machine's clock has it, in UTC."""
    return "–" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + " UTC"
