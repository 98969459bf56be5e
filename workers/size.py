"""Size: a number of bytes, as people write it and read it."""

from __future__ import annotations

from typing import Final

UNITS: Final[dict[str, int]] = {
    **dict.fromkeys(("", "B"), 1),
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "


def parsed(text: str) -> int:
    """The bytes of a text such as `20 GB`; raises `ValueError`, whose message begins after what was named."""
    digits = text.rstrip(LETTERS)
    unit = text[len(digits) :].strip().upper()
    try:
        return round(float(digits) * UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise ValueError(f"is {text!r}, but must be a number of bytes, such as 20 GB or 500 MiB") from None


def shown(size: float) -> str:
    """`size` bytes in three digits: 2.31 GB."""
    for unit in ("TB", "GB", "MB", "kB"):
        if size >= UNITS[unit.upper()]:
            return f"{size / UNITS[unit.upper()]:.3g} {unit}"
    return f"{size:.0f} B"
