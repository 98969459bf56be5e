"""Overview: the list of searches, each with a digest of its book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from markupsafe import Markup

from nas.dashboard.book import Book
from nas.dashboard.figures import sparkline
from nas.dashboard.rendering import markup
from nas.dashboard.shelf import Digest, Shelf, stamp
from nas.history import TrialRecord
from nas.log import Header, Log
from nas.reports.charts import title, value
from nas.standing import abandoned, current
from nas.summary import budget, objectives, overview
from workers.errors import UserError
from workers.objectives import Objective
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
    shelf.want(headers, noted)
    return [_line(header, shelf.digests.get(header.search)) for header in headers]


def digest(book: Book) -> Digest:
    """What the list says of a book."""
    with book.lock:
        goals = book.goals
        own, rival = book.courses.get("own"), book.courses.get("rival")
        return Digest(
            of=stamp(book.header),
            trials=book.searched,
            ended=book.ended,
            running=len(book.running),
            limit=budget(book.header, book.history).get("trials"),
            best=_best([own and own.best, rival and rival.best], goals),
            baseline=_best([rival and rival.best], goals),
            line=own.line if own else (),
        )


def _current(book: Book) -> Digest:
    if book.header.driven():
        book.catch_up()
    return digest(book)


def noted(log: Log, header: Header) -> Digest:
    """What the list says of a search that no page has open: from what its driver has kept, where it is long."""
    found = abandoned(current(log, header), header)
    stands, goals = found.record(header), found.goals
    return Digest(
        of=stamp(header),
        trials=stands["trials"]["asked"],
        ended=found.ended,
        running=stands["trials"]["running"],
        limit=stands["budget"].get("trials"),
        best=_first(stands["best"], goals),
        baseline=_first(stands["baseline"], goals),
        line=[*found.rises, (found.ended, found.rises[-1][1])] if found.rises else (),
    )


def _best(records: Sequence[TrialRecord | None], goals: Sequence[Objective]) -> str:
    """The best score among some trials, in words; empty where there is none."""
    found = [record for record in records if record is not None and record.result is not None]
    if not found or not goals:
        return ""
    scores = [record.result.metrics[goals[0].metric] for record in found if record.result]
    return value(goals[0].metric, max(scores, key=goals[0].gain))


def _first(trials: Sequence[dict[str, Json]], goals: Sequence[Objective]) -> str:
    return value(goals[0].metric, trials[0]["metrics"][goals[0].metric]) if trials and goals else ""


def _line(header: Header, known: Digest | None) -> Line:
    goals = objectives(header.job)
    metric = goals[0].metric if goals else ""
    spark = markup(sparkline(known.line, metric) if known is not None else "")
    return Line(overview(header), title(metric), known, spark)
