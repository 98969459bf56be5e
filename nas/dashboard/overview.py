"""Overview: the list of searches, each with a digest of its book."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from markupsafe import Markup

from nas.dashboard.book import Book
from nas.dashboard.figures import sparkline
from nas.dashboard.rendering import markup
from nas.dashboard.shelf import Digest, Shelf, stamp
from nas.history import TrialRecord
from nas.log import Header
from nas.reports.charts import title, value
from nas.summary import budget, objectives, overview
from workers.errors import UserError
from workers.trial import Json

LISTED = 200  # searches on the page


@final
@dataclass(frozen=True)
class Line:
    """A search in the list; `digest` is None until its journal was read."""

    known: dict[str, Json]
    metric: str
    digest: Digest | None
    spark: Markup


def lines(shelf: Shelf) -> Sequence[Line]:
    """The searches, the newest first; what was not read yet is read in the background."""
    headers = shelf.searches()[:LISTED]
    for search, book in shelf.open().items():
        try:
            shelf.keep(search, _current(book))
        except UserError:  # it has been removed, or spoiled: its own page says so
            continue
    shelf.want(headers)
    return [_line(header, shelf.digests.get(header.search)) for header in headers]


def digest(book: Book) -> Digest:
    """What the list says of a book."""
    with book.lock:
        goals = book.goals
        own, rival = book.courses.get("own"), book.courses.get("rival")
        return Digest(
            of=stamp(book.header),
            made=time.monotonic(),
            trials=book.searched,
            ended=book.ended,
            running=len(book.running),
            limit=budget(book.header, book.history).get("trials"),
            best=_best(own.best if own else None, goals[0].metric) if goals else "",
            baseline=_best(rival.best if rival else None, goals[0].metric) if goals else "",
            line=own.line if own else (),
        )


def _current(book: Book) -> Digest:
    if book.header.driven():
        book.catch_up()
    return digest(book)


def _best(record: TrialRecord | None, metric: str) -> str:
    return value(metric, record.result.metrics[metric]) if record is not None and record.result else ""


def _line(header: Header, known: Digest | None) -> Line:
    goals = objectives(header.job)
    metric = goals[0].metric if goals else ""
    spark = markup(sparkline(known.line, metric) if known is not None else "")
    return Line(overview(header), title(metric), known, spark)
