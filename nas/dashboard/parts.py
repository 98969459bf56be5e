"""Parts: the pieces of a live page, each as HTML; what changed since a page was drawn is all that is sent again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeAlias

from nas.dashboard import figures
from nas.dashboard.book import Book
from nas.dashboard.ledger import METRICS, Query, arms_of
from nas.dashboard.rendering import plain, render, tag
from nas.history import APART, TrialRecord
from nas.reports.charts import title, value
from nas.summary import budget, trial_state
from workers.errors import NotFoundError
from workers.objectives import Outcome

Parts: TypeAlias = Mapping[str, str]
STATES = ("waiting", "running", *(str(one) for one in Outcome if one.charged))
TICK = 5.0  # seconds after which drawings of time are made again where nothing else has changed
FRONT = 10  # trials of a front in a table
HAPPENINGS = 40


def changed(parts: Parts, have: str) -> dict[str, dict[str, str]]:
    """The parts whose tags are not in `have` (`name:tag,name:tag`), each as its tag and its HTML."""
    known = set(have.split(","))
    tags = {name: tag(html) for name, html in parts.items()}
    return {
        name: {"tag": tags[name], "html": html} for name, html in parts.items() if f"{name}:{tags[name]}" not in known
    }


def search_parts(book: Book, query: Query) -> Parts:
    """The page of a search; the caller holds the lock of its book."""
    kept = _standing(book)
    return {**kept, "trials": _trials(book, query)}


def _standing(book: Book) -> Parts:
    """All but the table: the same for everybody, so drawn once for each state of the book."""
    now = time.time()
    key = (book.version, int(now / TICK) if book.running else 0, book.header.heartbeat if not book.running else 0)
    if book.drawn is None or book.drawn[0] != key:
        book.drawn = (key, _drawn(book, now))
    return book.drawn[1]


def _drawn(book: Book, now: float) -> Parts:
    history = book.history
    limits = budget(book.header, history)
    until = now if book.state == "running" else (history.last_at or now)
    link = f"/searches/{book.search}/trials"
    return {
        "headline": render("part_headline.html", book=book, limits=limits, spent=history.worked),
        "tiles": render("part_tiles.html", book=book, limits=limits, best=_best(book), metric=_metric(book)),
        "race": figures.race(book),
        "trade": figures.trade(book),
        "front": _front(book, link),
        "busy": figures.busy(book, until),
        "timeline": figures.timeline(book, until, link),
        "events": render("part_events.html", happenings=list(book.happenings)[: -HAPPENINGS - 1 : -1], link=link),
        "final": render("part_final.html", records=_final(book), link=link),
    }


def _metric(book: Book) -> str:
    return book.goals[0].metric if book.goals else ""


def _best(book: Book) -> Mapping[str, TrialRecord]:
    return {arm: course.best for arm, course in book.courses.items() if course.best is not None}


def _front(book: Book, link: str) -> str:
    found = book.edge.records if book.edge is not None else ()
    metrics = [goal.metric for goal in book.goals]
    return render("part_front.html", rows=found[:FRONT], total=len(found), metrics=metrics, link=link)


def _final(book: Book) -> list[TrialRecord]:
    return [record for record in book.apart if record.arm in APART]


def _trials(book: Book, query: Query) -> str:
    ledger = book.ledger
    leaf = ledger.find(query)
    records = [book.history.trials[number] for number in leaf.trials]
    winner = _best(book).get("own")
    return render(
        "part_trials.html",
        records=[(record, trial_state(record), shown(record)) for record in records],
        leaf=leaf,
        falls=ledger.falls(query),
        query=query,
        metrics=ledger.metrics[:METRICS],
        best=winner.trial.id if winner is not None else None,
        link=f"/searches/{book.search}/trials",
        here=f"/searches/{book.search}",
    )


def filters(book: Book) -> Mapping[str, list[str]]:
    """What the table can be filtered by."""
    return {"states": list(STATES), "arms": list(arms_of(book.ledger))}


def shown(record: TrialRecord) -> Mapping[str, float]:
    """The metrics of a trial, before it ends those of its last report."""
    if record.result is not None:
        return record.result.metrics
    return record.curve[-1][1] if record.curve else {}


def trial_parts(book: Book, number: int) -> Parts:
    """The page of a trial; the caller holds the lock of its book."""
    record = book.history.trials.get(number)
    if record is None:
        total = len(book.history.trials)
        raise NotFoundError(f"{book.search} has no trial {number}: {total} were asked so far, numbered from 0")
    link = f"/searches/{book.search}/trials"
    metrics = {name: value(name, found) for name, found in shown(record).items()}
    named = {title(name): text for name, text in metrics.items()}
    losses = book.losses.get(number, [])
    return {
        "headline": render("part_trial_headline.html", record=record, state=trial_state(record), link=link, book=book),
        "result": render("part_trial_result.html", record=record, metrics=named, book=book),
        "curves": "".join(figures.curves(record, book.goals)),
        "attempts": render("part_trial_attempts.html", record=record, losses=losses),
        "candidate": render(
            "part_trial_candidate.html", values={k: plain(v) for k, v in record.trial.candidate.items()}
        ),
    }
