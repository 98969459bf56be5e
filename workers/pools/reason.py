"""Reason: what Ray says of a death, in one line for people."""

from __future__ import annotations

import re

MOST = 300  # characters
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
PLACE = re.compile(r"(?:^\tip: |\[Node |\(IP: )([\w.:]+)", re.MULTILINE)
KNOWN = "The actor died unexpectedly before finishing this task"  # and that is why somebody asks


def in_a_line(error: BaseException) -> str:
    """The kind of an error, the node, and the last line of a traceback, or the first sentences that Ray says."""
    text = COLOURS.sub("", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("\t")]
    if "\n  File " in text:
        lines = lines[-1:]
    said = " ".join(line for line in lines if not line.startswith(KNOWN))
    if len(said) > MOST:
        said = said[:MOST].rpartition(". ")[0] or f"{said[:MOST]}..."
    place = PLACE.search(text)
    kind = f"{type(error).__name__}{f' on {place[1]}' if place else ''}"
    return f"{kind}: {said.removesuffix('.')}" if said else kind
