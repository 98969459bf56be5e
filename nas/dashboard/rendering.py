"""Templates and the files that belong to them: read once, everything that is put in is escaped."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.dashboard.figures import clock
from nas.quantities import counted, duration, metric, size
from nas.reports.charts import title, value
from nas.reports.page import arm_name
from nas.reports.style import STYLE
from workers.redaction import redacted_text

TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@cache
def environment() -> Environment:
    """Where templates are; escaping is on for all of them."""
    made = Environment(
        loader=PackageLoader("nas.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"duration": duration, "metric": metric, "size": size, "clock": clock, "title_of": title}
    made.filters |= {"arm": arm_name, "counted": counted, "value_of": lambda number, name: value(name, number)}
    made.globals["asset"] = asset
    return made


def render(template: str, **known: Any) -> str:
    """A page or a part of one."""
    return environment().get_template(template).render(**known)


def markup(text: str) -> Markup:
    """A chart, which its maker has escaped."""
    return Markup(text)


@cache
def assets() -> dict[str, tuple[bytes, str]]:
    """The style sheet and the scripts by name, each with its type; the style begins with that of reports."""
    found = {}
    for one in files("nas.dashboard").joinpath("static").iterdir():
        kind = TYPES.get(one.name.rpartition(".")[2])
        if kind is not None:
            text = one.read_text(encoding="utf-8")
            found[one.name] = ((STYLE + text if one.name == "dashboard.css" else text).encode(), kind)
    return found


@cache
def asset(name: str) -> str:
    """The address of a file that belongs to the pages; it changes with its content."""
    return f"/static/{name}?{hashlib.sha256(assets()[name][0]).hexdigest()[:12]}"


def tag(text: str) -> str:
    """What tells one state of a part of a page from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def plain(value: object) -> str:
    """A value of a job or a candidate as people write it; passwords in addresses are left out."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return redacted_text(text)
