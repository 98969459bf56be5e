"""From what a user types to a journal, a search in it, a trial of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nas.history import Entry, History, TrialRecord
from nas.summary import state
from workers.errors import NotFoundError, UserError
from workers.trial import Json

if TYPE_CHECKING:
    from nas.log import Header, Log


@contextmanager
def opened(place: str | None) -> Iterator[Log]:
    """The journals at `place` (else `$NAS_HOME`, else `~/.cellwright`), closed afterwards."""
    from nas.home import open_log

    log = open_log(place)
    try:
        yield log
    finally:
        log.close()


def find(log: Log, given: str) -> Header:
    """The search whose id is `given` or begins with it, or the newest for `last`; an error names the near ones."""
    headers = {header.search: header for header in log.searches()}
    if given in headers:
        return headers[given]
    if not headers:
        raise NotFoundError("there is no search here yet: start one with `nas run job.yaml`, or name the --journal")
    if given == "last":
        return max(headers.values(), key=lambda header: header.created)
    matches = sorted(search for search in headers if given and search.startswith(given))
    if len(matches) > 1:
        raise UserError(f"{given!r} begins several searches: {', '.join(matches)}; give more of the id")
    return headers[matches[0]] if matches else log.header(given)


def history(log: Log, header: Header) -> History:
    """Everything that happened in a search so far; what an abandoned one was running waits to be issued again."""
    known = History.of(log.entries(header.search))
    if (now := state(header)) == "abandoned":
        known.feed(Entry(0, known.last_at or header.heartbeat, "state", None, {"state": now, "reason": header.reason}))
    return known


def standing(log: Log, header: Header) -> dict[str, Json]:
    """Where a search stands, as one record, without reading all of its journal where a driver has kept that."""
    from nas.standing import abandoned, current

    return abandoned(current(log, header), header).record(header)


def look(place: str | None, given: str) -> tuple[Header, History]:
    """The search that `find` finds in the journals at `place`, and everything that happened in it."""
    with opened(place) as log:
        header = find(log, given)
        return header, history(log, header)


def find_trial(known: History, search: str, number: int) -> TrialRecord:
    """The trial with this number."""
    if number in known.trials:
        return known.trials[number]
    if not known.trials:
        raise NotFoundError(
            f"{search} has no trials yet, so none is number {number}: wait until `nas status` shows some"
        )
    first, last = min(known.trials), max(known.trials)
    raise NotFoundError(f"{search} has no trial {number}: they are numbered from {first} to {last}")
