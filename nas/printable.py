"""Printable: text of others, a trial's output or an error, as a terminal may be given it."""

from __future__ import annotations

import re

# C0 but for tab and line feed, DEL, C1, and what turns the direction of writing around.
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with what a terminal would obey written out as in Python.

    Such commands rename windows, hide lines, and have some terminals type what they were sent (CVE-2003-0063).
    """
    return COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
