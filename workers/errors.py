"""UserError: a mistake that a person can mend, said in one message; and how to say any other error."""

from __future__ import annotations

import traceback
from functools import cache
from pathlib import Path

from workers.redaction import redacted_text


class UserError(Exception):
    """The value, the rule and the remedy, in one or two sentences; shown without a traceback."""


class NotFoundError(UserError):
    """What was asked for by name does not exist."""


class DivergedError(ArithmeticError):
    """A loss or another metric is no longer a finite number."""


class DamagedError(UserError):
    """Bytes are not what was once written."""


def in_words(error: BaseException, most: int = 500) -> str:
    """An error that nobody foresaw, in one line: its kind, what it says, and where its cause is in a user's code."""
    kind, text = type(error).__name__, redacted_text(" ".join(str(error).split()))[:most]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_foreign())]
    place = f" ({Path((own or frames)[-1].filename).name}, line {(own or frames)[-1].lineno})" if frames else ""
    return f"{kind}: {text}{place}" if text else f"{kind}{place}"


@cache
def _foreign() -> tuple[str, ...]:
    """Where no user's code is: frozen modules, the standard library, what is installed, our own packages."""
    import sysconfig

    ours = Path(__file__).resolve().parent.parent
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return "<", *installed, *(f"{ours / package}/" for package in ("nas", "workers", "search_spaces"))
