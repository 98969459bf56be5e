"""Actions: stop, extend and enqueue, for who has the token; each is a request in the journal, as from a terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import final

from starlette.requests import Request

from nas import stopping
from nas.dashboard.refusal import Refusal
from nas.dashboard.studio import Studio
from nas.log import Log
from workers.trial import Json

LIMITS = ("trials", "epochs", "seconds")
LONGEST = 18  # digits of a whole number: SQLite and PostgreSQL take no more


@final
class Actions:
    """What a page can ask of a search: each answers with a sentence for who asked."""

    def __init__(self, log: Log, studio: Studio) -> None:
        self.log, self.studio = log, studio

    def stop(self, search: str) -> str:
        """Let a running search finish the trials that run, and stop; one that has not begun will not."""
        try:
            begun = stopping.stop(search, self.log)
        except stopping.IdleError as error:
            raise Refusal(409, "It does not run", f"{error}.") from None
        what = "will stop when the trials that run have ended" if begun else "is stopped: it had not begun"
        return f"{search} {what}; nas resume {search} goes on."

    def extend(self, search: str, given: Mapping[str, Json]) -> str:
        """Change the limits of a search's budget."""
        from nas.driver import extend

        budget = given.get("budget")
        if not isinstance(budget, dict) or not budget or set(budget) - set(LIMITS):
            raise Refusal(400, "That is no budget", f"A budget has numbers for some of {', '.join(LIMITS)}.")
        for name, limit in budget.items():
            number = isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit)
            if not number or limit <= 0:
                raise Refusal(400, "That is no budget", f"{name} is {limit!r}, but must be a number above 0.")
        header = self.log.header(search)
        extend(search, self.log, {"budget": budget})
        said = ", ".join(f"{limit:g} {name}" for name, limit in budget.items())
        return f"{search} now has a budget of {said}{_when(header.driven(), search)}"

    def enqueue(self, search: str, given: Mapping[str, Json]) -> str:
        """Have a search try a candidate next."""
        values = given.get("candidate")
        if not isinstance(values, dict):
            raise Refusal(400, "That is no candidate", "A candidate is a mapping of decisions to values.")
        header = self.log.header(search)
        chosen = self.studio.check(search, values)
        self.log.request(search, "enqueue", {"candidate": chosen.json()})
        return f"{search} will try it{_when(header.driven(), search)}"


async def body(request: Request) -> Mapping[str, Json]:
    """The JSON object that a request brings: a page of another origin cannot send that type without being asked."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refusal(415, "That is not JSON", "Actions are sent as application/json.")
    try:
        found = json.loads(await request.body(), parse_int=_whole)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # halves of characters are in no file
    except (ValueError, RecursionError):
        raise Refusal(400, "That is not JSON", "What was sent cannot be read as JSON.") from None
    if not isinstance(found, dict):
        raise Refusal(400, "That is not JSON", "An object is needed: {...}.")
    return found


def _whole(digits: str) -> int:
    if len(digits) > LONGEST:
        raise ValueError(digits)
    return int(digits)


def _when(driven: bool, search: str) -> str:
    return "." if driven else f" when it goes on: nas resume {search}"
