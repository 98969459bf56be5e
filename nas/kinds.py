"""Kinds: what stands in JSON that somebody else may have written must be of a kind, or it is a ValueError."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from workers.trial import Json

LARGEST = 2**53  # of what is counted
HUGE = 1e300  # whole numbers beyond would be too large to be divided or written with digits behind the point
FAR = 1e11  # seconds: a time until the year 5138, or as long a duration


def whole(value: Json, least: int = 0) -> int:
    """A whole number from `least` to `LARGEST`."""
    if type(value) is not int or not least <= value <= LARGEST:
        raise ValueError("a whole number was expected")
    return value


def number(value: Json) -> float:
    """A number as metrics are: also NaN and infinities."""
    if isinstance(value, float) or (isinstance(value, int) and abs(value) <= HUGE):
        return value
    raise ValueError("a number was expected")


def finite(value: Json) -> float:
    """A finite number."""
    if not math.isfinite(number(value)):
        raise ValueError("a finite number was expected")
    return float(value)


def seconds(value: Json) -> float:
    """A time or a duration."""
    if isinstance(value, bool) or not 0 <= number(value) <= FAR:
        raise ValueError("seconds were expected")
    return value  # type: ignore[no-any-return]


def text(value: Json) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError("a text was expected")
    return value


def flag(value: Json) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false was expected")
    return value


def table(value: Json) -> Mapping[str, Json]:
    """A mapping, whose keys JSON has made texts."""
    if not isinstance(value, dict):
        raise ValueError("a mapping was expected")
    return value


def row(value: Json, length: int | None = None) -> Sequence[Json]:
    """A list, of so many."""
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise ValueError("a list was expected")
    return value
