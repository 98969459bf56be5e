"""Reason: what Ray says of a death, in one line for people."""

from __future__ import annotations

import re

MOST = 300  # characters
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
KNOWN = ("The actor died unexpectedly before finishing this task",)  # and that is why somebody asks


def in_a_line(error: BaseException) -> str:
    """The last line of a traceback, or what else Ray says but for its numbers of actors."""
    text = COLOURS.sub("", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("\t")]
    if "\n  File " in text:
        lines = lines[-1:]
    said = " ".join(line for line in lines if not line.startswith(KNOWN))
    short = said if len(said) <= MOST else f"{said[:MOST]}..."
    return f"{type(error).__name__}: {short}" if short else type(error).__name__
