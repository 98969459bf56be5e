"""Stopping: whoever drives a search is asked to stop; one that nobody drives yet is stopped here and now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.summary import state
from workers.errors import UserError

if TYPE_CHECKING:
    from nas.log import Log

BEFORE = "a user asked for it before it began"


class IdleError(UserError):
    """There is nothing to stop."""


def stop(search: str, log: Log) -> bool:
    """Whether a driver was asked to finish what runs, and to stop.

    False where none had begun: then the search is stopped, and a driver that was on its way ends at once. `IdleError`
    where there is nothing to stop.
    """
    if log.header(search).state == "created" and _stopped(search, log):
        return False
    header = log.header(search)
    if not header.driven():
        raise IdleError(f"{search} is {state(header)}: only a search that runs, or has not begun, can be stopped")
    log.request(search, "stop", {})
    return True


def _stopped(search: str, log: Log) -> bool:
    """Take the search, and let it go again; False where a driver was faster."""
    try:
        epoch = log.acquire(search)
    except UserError:
        if not log.header(search).driven():
            raise
        return False
    log.release(search, epoch, "stopped", BEFORE)
    return True
