"""Panels: what a Grafana dashboard is made of, as the JSON that Grafana reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from workers.trial import Json

SOURCE: Final[Mapping[str, Json]] = {"type": "prometheus", "uid": "${source}"}  # a variable: whichever is chosen
WIDTH: Final = 24  # columns of a dashboard
CALM, GOOD, BAD, ODD = "blue", "green", "red", "orange"


@final
@dataclass(frozen=True, slots=True)
class Query:
    """An expression of Prometheus, and how its series are called (`{{label}}` stands for a label's value).

    With `now` it is asked at the end of what is shown alone: a series that has ended by then is not there.
    """

    expression: str
    legend: str = ""
    now: bool = False

    def json(self, number: int) -> dict[str, Json]:
        """The query with this number among those of its panel."""
        when = {"instant": self.now, "range": not self.now}
        return {
            "refId": chr(ord("A") + number),
            "expr": self.expression,
            "legendFormat": self.legend or "__auto",
            **when,
        }


@final
@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: `kind` and `unit` are words of Grafana (stat, timeseries; s, bytes), `width` is in columns.

    `colours` fixes those of series by their names; `limits` colour a value from each bound on; `nothing` is shown where
    there is no series.
    """

    title: str
    text: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    stacked: bool = False
    colours: Mapping[str, str] = field(default_factory=dict)
    limits: Sequence[tuple[float | None, str]] = ((None, CALM),)
    options: Mapping[str, Json] = field(default_factory=dict)
    nothing: str = ""

    def json(self, number: int, x: int, y: int) -> dict[str, Json]:
        """The panel at a place of the dashboard."""
        custom: dict[str, Json] = {}
        options: dict[str, Json] = {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "colorMode": "value",
            "graphMode": "none" if self.queries[0].now else "area",
        }
        if self.kind == "timeseries":
            custom = {
                "lineWidth": 2,
                "fillOpacity": 25 if self.stacked else 5,
                "showPoints": "auto",
                "spanNulls": 60_000,
            }
            custom |= {"stacking": {"mode": "normal", "group": "A"}} if self.stacked else {}
            options = {
                "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
                "tooltip": {"mode": "multi", "sort": "none"},
            }
        steps = [{"value": bound, "color": colour} for bound, colour in self.limits]
        defaults = {"unit": self.unit, "custom": custom, "thresholds": {"mode": "absolute", "steps": steps}}
        defaults |= {"noValue": self.nothing} if self.nothing else {}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.text,
            "datasource": dict(SOURCE),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [query.json(place) for place, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": defaults, "overrides": [_coloured(*pair) for pair in self.colours.items()]},
            "options": {**options, **self.options},
        }


@final
@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, side by side as long as there is room."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False


def laid_out(rows: Sequence[Row]) -> list[dict[str, Json]]:
    """The rows from top to bottom, every panel with a number of its own; those of a folded row are inside it."""
    made: list[dict[str, Json]] = []
    y = number = 0
    for row in rows:
        number += 1
        heading = {"id": number, "type": "row", "title": row.title, "collapsed": row.folded, "panels": []}
        heading["gridPos"] = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        made.append(heading)
        y += 1
        x = tallest = 0
        inside: list[dict[str, Json]] = []
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            inside.append(panel.json(number, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
        if row.folded:
            heading["panels"] = inside
        else:
            made += inside
    return made


def _coloured(name: str, colour: str) -> dict[str, Json]:
    fixed = {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}
    return {"matcher": {"id": "byName", "options": name}, "properties": [fixed]}
