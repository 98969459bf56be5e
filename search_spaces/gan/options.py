"""What the options of these spaces must be."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from search_spaces.decision import DecisionError


def named(option: str, values: Sequence[str], known: Sequence[str]) -> None:
    """Raise `DecisionError` unless `values` are some of `known`, each once."""
    for value in values:
        if value not in known:
            near = difflib.get_close_matches(str(value), known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise DecisionError(f"{option} has {value!r}: {hint}there are {', '.join(known)}")
    if not values or len(set(values)) < len(values):
        raise DecisionError(f"{option} is {list(values)}, but must name at least one, and none twice")


def rising(option: str, values: Sequence[int]) -> None:
    """Raise `DecisionError` unless `values` are rising numbers from 1 on."""
    if not values or min(values) < 1 or list(values) != sorted(set(values)):
        raise DecisionError(f"{option} is {list(values)}, but must be rising numbers from 1 on, at least one")
