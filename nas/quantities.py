"""Durations, sizes and counts as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping

SHARES = frozenset({"accuracy", "exact", "token_accuracy", "precision", "recall"})


def duration(seconds: float | None) -> str:
    """`90 -> 1 min 30 s`; a dash where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def size(count: float) -> str:
    """Bytes in powers of 1024: `1536 -> 1.5 KiB`."""
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def count(number: float) -> str:
    """A count in powers of 1000, exact below ten thousand: `3346538 -> 3.35 M`."""
    if not math.isfinite(number):
        return "infinitely many"
    if number < 10_000:
        return f"{number:.0f}"
    if number >= 1e15:
        return f"{float(number):.2e}"
    return _scaled(number, 1000, ("", "k", "M", "G", "T"))


def counted(number: float, noun: str) -> str:
    """`1 -> 1 trial`, `3 -> 3 trials`."""
    text = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{text} {noun}" + ("" if number == 1 else "s")


def metric(value: float | None) -> str:
    """Four significant digits, whole numbers as they are; a dash where it is missing."""
    if value is None:
        return "-"
    if float(value).is_integer() and abs(value) < 1e12:
        return f"{value:.0f}"
    return f"{value:.4g}"


def is_share(name: str) -> bool:
    """Whether a metric is a share of 1, which people read in percent."""
    return name.removeprefix("test_") in SHARES


def score(name: str, value: float) -> str:
    """The value of metric `name`: shares in percent, all else in four digits."""
    return f"{value:.2%}" if is_share(name) else metric(value)


def scale(metrics: Mapping[str, float], name: str) -> dict[str, float]:
    """What stands beside metric `name`, by the rest of its name: of `fid` that is `real` for `fid_real`."""
    return {one.removeprefix(f"{name}_"): value for one, value in metrics.items() if one.startswith(f"{name}_")}


def _scaled(number: float, step: int, names: tuple[str, ...]) -> str:
    place = 0
    while number >= step and place < len(names) - 1:
        number /= step
        place += 1
    return f"{number:.0f} {names[place]}" if number >= 100 else f"{number:.3g} {names[place]}"
