"""Literal: plain JSON written for people, one line where it fits, as Python or as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

from workers.trial import Json

ROOM = 108  # columns, so that a line with its name in front stays under 120


def literal(value: Json, indent: int = 0) -> str:
    """`value` as Python source."""
    return _written(value, indent, python=True)


def compact(value: Json, indent: int = 0) -> str:
    """`value` as JSON that is as easy to read."""
    return _written(value, indent, python=False)


def _written(value: Any, indent: int, python: bool) -> str:
    flat = _flat(value, python)
    if len(flat) + indent <= ROOM or not isinstance(value, dict | list) or not value:
        return flat
    pad, inner = " " * (indent + 4), indent + 4
    if isinstance(value, dict):
        items = [f"{pad}{_flat(str(key), python)}: {_written(item, inner, python)}" for key, item in value.items()]
        first, last = "{", "}"
    else:
        items = [f"{pad}{_written(item, inner, python)}" for item in value]
        first, last = "[", "]"
    end = "," if python else ""
    return f"{first}\n" + ",\n".join(items) + f"{end}\n{' ' * indent}{last}"


def _flat(value: Any, python: bool) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(str(k), python)}: {_flat(item, python)}" for k, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(item, python) for item in value) + "]"
    if isinstance(value, str) or not python:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)
