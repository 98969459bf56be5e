"""The charts of a report: best so far, the trade-off between two objectives, the surrogate's rank correlation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import quantiles
from typing import final

from nas.history import TrialRecord
from nas.quantities import count, is_share, score
from nas.reports import facts
from nas.reports.chart import Axis, Dots, Layer, Line, Point, chart
from nas.reports.page import Subject, arm_name, figure, style_of, table
from nas.surrogates.correlation import LevelCorrelation
from workers.objectives import Objective

FRONT = 10  # trials of the front that are named beside it

COUNTS = ("parameters", "multiply_adds")


def value(name: str, number: float) -> str:
    """A metric's value as a person reads it."""
    return count(number) if name in COUNTS else score(name, number)


def tick(name: str) -> Callable[[float], str]:
    """How the axis of a metric is labelled."""
    if is_share(name):
        return lambda number: f"{number * 100:.6g} %"
    return count if name in COUNTS else lambda number: f"{number:.6g}"


def title(name: str) -> str:
    """A metric's name in a sentence."""
    return name.replace("_", "-" if name == "multiply_adds" else " ")


@final
@dataclass(frozen=True)
class Arm:
    """One arm of a race: its name and style, its best so far, and its trials, each with what is said of it."""

    label: str
    style: str
    line: Sequence[Point]
    dots: Sequence[Point]
    titles: Sequence[str] = ()


@final
@dataclass(frozen=True)
class Cloud:
    """Trials between two objectives in one style: `(second, first)` for each, and what is said of it."""

    style: str
    points: Sequence[Point]
    titles: Sequence[str] = ()


def progress(subject: Subject, objective: Objective) -> str:
    """Best so far against trials and against seconds of training, the random baseline beside the search."""
    history = subject.history
    arms = [("search", "own", facts.OWN), ("random", "rival", ("baseline",))]
    races = [(label, style, names, facts.race(history, objective, names)) for label, style, names in arms]
    unit, size = _unit(max((race.by_seconds[-1][0] for *_, race in races if race.by_seconds), default=1.0))
    found = []
    rungs = any(not record.full for _, _, names, _ in races for record in facts.ended(history, names))
    trials = "trials of each arm, by their epochs" if rungs else "trials of each arm"
    described = words({label: race.by_trainings for label, _, _, race in races}, objective)
    for by_trials, name in ((True, trials), (False, f"training time of each arm, {unit}")):
        drawn = []
        for label, style, names, race in races:
            points, titles = _scores(facts.counted(history, names), objective, by_trials, size)
            line = race.by_trainings if by_trials else [(seconds / size, best) for seconds, best in race.by_seconds]
            drawn.append(Arm(label, style, line, points, titles))
        found.append(raced(drawn, objective, name, by_trials, described))
    return f'<div class="pair">{"".join(found)}</div>'


def raced(arms: Sequence[Arm], objective: Objective, name: str, whole: bool, described: str) -> str:
    """Best so far of each arm against what `name` says, in whole numbers where `whole`; a figure with its caption."""
    layers: list[Layer] = [Dots(arm.dots, arm.style, arm.titles, 3.0) for arm in arms]
    layers += [Line(arm.line, arm.style, arm.label, steps=True) for arm in arms]
    low, high, hidden = _window(layers, objective)
    axis = Axis(f"best {title(objective.metric)} so far", low, high, format=tick(objective.metric))
    across = Axis(name, 0.0, whole=whole)
    drawn = chart(f"Best {title(objective.metric)} against {name}", across, axis, layers, described)
    left_out = f" Not drawn, outside the scale: {hidden}." if hidden else ""
    return figure(drawn, f"Best {escape(title(objective.metric))} so far; each dot is a trial.{left_out}")


def _unit(seconds: float) -> tuple[str, float]:
    """The unit of an axis up to `seconds`, and how many seconds it is."""
    units = (("hours", 3600.0), ("minutes", 60.0))
    return next(((name, size) for name, size in units if seconds >= 2 * size), ("seconds", 1.0))


def words(lines: Mapping[str, Sequence[Point]], objective: Objective) -> str:
    """Where the line of each arm ends, in a sentence."""
    ends = [(label, line[-1]) for label, line in lines.items() if line]
    return "; ".join(f"{label}: {value(objective.metric, y)} after {x:.4g} trials" for label, (x, y) in ends)


def _scores(
    counted: Sequence[tuple[float, TrialRecord]], objective: Objective, by_trials: bool, unit: float
) -> tuple[list[tuple[float, float]], list[str]]:
    """Every completed trial's own value, at the place where it ended."""
    points: list[tuple[float, float]] = []
    titles, seconds = [], 0.0
    for place, record in counted:
        seconds += record.seconds
        if record.completed and record.result and objective.metric in record.result.metrics:
            found = record.result.metrics[objective.metric]
            points.append((place if by_trials else seconds / unit, found))
            titles.append(f"trial {record.trial.id}: {value(objective.metric, found)}")
    return points, titles


def _window(layers: Sequence[Layer], objective: Objective) -> tuple[float | None, float | None, int]:
    """The part of the scale worth showing: all but the worst twentieth, and all of the lines."""
    values = sorted(y for layer in layers if isinstance(layer, Dots) for _, y in layer.points)
    lines = [y for layer in layers if isinstance(layer, Line) for _, y in layer.points]
    if len(values) < 20:
        return None, None, 0
    cut = quantiles(values, n=20)
    low, high = (cut[0], values[-1]) if objective.gain(1.0) > 0 else (values[0], cut[-1])
    low, high = min([low, *lines]), max([high, *lines])
    room = (high - low) * 0.08 or abs(high) * 0.05 or 0.5
    low, high = low - room, high + room
    if is_share(objective.metric):
        low, high = max(low, 0.0), min(high, 1.004)
    return low, high, sum(not low <= y <= high for y in values)


def trade(subject: Subject) -> str:
    """The trade-off of two objectives with its Pareto front, or nothing where there is only one number."""
    pair = facts.traded(subject.history, subject.objectives)
    if pair is None:
        return ""
    first, second = pair
    records = facts.measured(subject.history, [first.metric, second.metric])
    best = facts.pareto(records, pair)
    clouds = []
    for style in ("rival", "own"):
        chosen = [record for record in records if style_of(record.arm) == style]
        clouds.append(
            Cloud(style, [_place(r, first, second) for r in chosen], [_said(r, first, second) for r in chosen])
        )
    described = f"{len(best)} of {len(records)} trials are on the Pareto front"
    drawn = traded(pair, clouds, [_place(record, first, second) for record in best], described)
    rows = [[str(record.trial.id), *_values(record, pair), arm_name(record.arm)] for record in best[:FRONT]]
    named = table(["trial", *(title(one.metric) for one in pair), "arm"], rows, numbers=(0, 1, 2))
    return f'<div class="pair">{drawn}<div>{named}</div></div>'


def traded(pair: tuple[Objective, Objective], clouds: Sequence[Cloud], best: Sequence[Point], described: str) -> str:
    """Clouds of trials and their Pareto front, the first objective upwards; a figure with its caption."""
    first, second = pair
    layers: list[Layer] = [Dots(cloud.points, cloud.style, cloud.titles) for cloud in clouds]
    edge = sorted(best, reverse=second.gain(1.0) > 0)
    layers.append(Line(edge, "front", steps=True))
    layers.append(Dots(edge, "front", radius=4.0))
    spread = [x for cloud in clouds for x, _ in cloud.points]
    log = bool(spread) and min(spread) > 0 and max(spread) / min(spread) > 8
    x = Axis(title(second.metric), log=log, format=tick(second.metric))
    y = Axis(title(first.metric), format=tick(first.metric))
    names = {"own": arm_name("strategy"), "rival": arm_name("baseline")}
    keys = "".join(
        f'<span class="entry"><span class="key {cloud.style}"></span>{names[cloud.style]}</span> '
        for cloud in sorted(clouds, key=lambda cloud: cloud.style)
        if cloud.points
    )
    return figure(
        chart(f"{title(first.metric)} against {title(second.metric)}", x, y, layers, described),
        f"{described}: none is better in both {escape(title(first.metric))} and {escape(title(second.metric))}. {keys}"
        '<span class="entry"><span class="key front"></span>Pareto front</span>',
    )


def _values(record: TrialRecord, pair: Sequence[Objective]) -> list[str]:
    return [value(one.metric, record.result.metrics[one.metric]) for one in pair] if record.result else []


def _place(record: TrialRecord, first: Objective, second: Objective) -> Point:
    metrics = record.result.metrics if record.result else {}
    return metrics[second.metric], metrics[first.metric]


def _said(record: TrialRecord, first: Objective, second: Objective) -> str:
    x, y = _place(record, first, second)
    return f"trial {record.trial.id}: {value(first.metric, y)}, {title(second.metric)} {value(second.metric, x)}"


def correlation(levels: Sequence[LevelCorrelation]) -> str:
    """Spearman's rho per level: of the predictions before training, and of the surrogate fitted afterwards."""
    layers: list[Layer] = [Line([(levels[0].level - 0.4, 0.0), (levels[-1].level + 0.4, 0.0)], "zero")]
    for label, style, strong in (("predicted", "own", "strong"), ("fitted", "rival", "strongrival")):
        points = [(float(one.level), rho) for one in levels if (rho := getattr(one, label)) is not None]
        titles = [f"level {x:.0f}, {label}: {rho:.2f}" for x, rho in points]
        layers += [Line(points, style, label), Dots(points, strong, titles, 4.0)]
    x = Axis("level: blocks in the cell", levels[0].level - 0.4, levels[-1].level + 0.4, whole=True)
    y = Axis("rank correlation", -1.0, 1.0)
    return chart("Rank correlation of the surrogate", x, y, layers)
