"""UserError: a mistake that a person can mend, said in one message."""

from __future__ import annotations


class UserError(Exception):
    """The value, the rule and the remedy, in one or two sentences; shown without a traceback."""


class NotFoundError(UserError):
    """What was asked for by name does not exist."""


class DivergedError(ArithmeticError):
    """A loss or another metric is no longer a finite number."""


class DamagedError(UserError):
    """Bytes are not what was once written."""
