"""Draining: this process is to give back what it runs, because its machine is going away.

A child looks between epochs: it keeps its state and ends as `stopped`, which is nobody's fault.
"""

from __future__ import annotations

from threading import Event
from typing import Final

REASON = "its node is being drained"
_begun: Final = Event()


class DrainedError(Exception):
    """What an attempt raises to be issued again elsewhere."""

    def __init__(self) -> None:
        super().__init__(REASON)


def begin() -> None:
    """From now on attempts end after the epoch that they are in. May be called by a signal's handler, and twice."""
    _begun.set()


def begun() -> bool:
    """Whether this process is being drained."""
    return _begun.is_set()


def end() -> None:
    """Go on as before; a test's process outlives what it drains."""
    _begun.clear()
