"""What the dashboard counts along is what reports and `nas status` work out from the whole journal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from histories import JOB, Invented
from hypothesis import given
from hypothesis import strategies as st

from nas.dashboard.book import PAUSE, Book
from nas.dashboard.course import Edge
from nas.dashboard.ledger import PAGE, Ledger, Query
from nas.dashboard.occupancy import BINS, Occupancy, Span, lanes
from nas.dashboard.shelf import BOOKS, Digest, Shelf, stamp
from nas.dashboard.thinning import Thinned
from nas.history import Entry, History, TrialRecord
from nas.log import Header, Log
from nas.logs.memory import MemoryLog
from nas.logs.sqlite import SqliteLog
from nas.ranking import front
from nas.reports import facts
from nas.summary import budget, counts, objectives, trial_state
from search_spaces.decisions import Candidate
from workers.errors import DamagedError, NotFoundError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Json, Result, Trial

ACCURACY, SIZE = Objective("accuracy", Direction.MAXIMIZE), Objective("parameters", Direction.MINIMIZE)
TWO: Mapping[str, Json] = {
    **JOB,
    "objectives": [{"metric": one.metric, "direction": str(one.direction)} for one in (ACCURACY, SIZE)],
}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = SqliteLog(tmp_path)
    yield opened
    opened.close()


def begin(log: Log, search: str = "cells-7", job: Mapping[str, Json] = TWO) -> int:
    log.create(search, dict(job), {})
    return log.acquire(search)


def written(invented: Invented) -> list[Entry]:
    return [entry for entry in invented.entries() if entry.kind not in ("driver", "state")]


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_book_read_in_pieces_says_what_the_whole_journal_says(log: Log, step: int) -> None:
    epoch, entries = begin(log), written(Invented(90))
    book = Book(log, "cells-7")
    for place in range(0, len(entries), step):
        log.append("cells-7", epoch, entries[place : place + step])
        book._due = 0.0
        book.catch_up()
    whole = History.of(log.entries("cells-7"))
    agree(book, whole)
    assert book.count == len(entries) + 1


def agree(book: Book, whole: History) -> None:
    goals = book.goals
    for style, arms in (("own", facts.OWN), ("rival", ("baseline",))):
        expected = facts.race(whole, goals[0], arms)
        assert list(book.courses[style].line) == list(expected.by_trainings)
        best = whole.best(goals[0], arm="strategy" if style == "own" else "baseline")
        found = book.courses[style].best
        assert (found and found.trial) == (best[0].trial if best else None)
    assert book.edge is not None
    assert {one.trial.id for one in book.edge.records} == {one.trial.id for one in whole.front(goals)}
    known = counts(whole.searched())
    assert book.searched == known.pop("asked")
    assert {
        **book.outcomes,
        "running": len(whole.running),
        "waiting": book.searched - book.ended - len(whole.running),
    } == known
    assert [book.ledger.states[i] for i in range(len(whole.trials))] == [trial_state(r) for r in whole.trials.values()]


def test_what_was_lost_interrupted_or_retrained_is_counted_once(log: Log) -> None:
    epoch = begin(log)
    trial = Trial(0, Candidate({"blocks": 1}), 3, 3)
    lost = Result(0, 1, Outcome.LOST, error="the machine has gone")
    done = Result(0, 3, Outcome.COMPLETED, {"accuracy": 0.5, "parameters": 10.0}, 3, 1.0)
    log.append(
        "cells-7",
        epoch,
        [
            Entry(0, 10.0, "ask", 0, trial.json()),
            Entry(0, 10.0, "attempt", 0, {"number": 1}),
            Entry(0, 14.0, "tell", 0, lost.json()),
            Entry(0, 15.0, "attempt", 0, {"number": 2}),
        ],
    )
    log.release("cells-7", epoch, "interrupted", "a signal")
    book = Book(log, "cells-7")
    book.catch_up()
    assert (book.ended, book.searched, len(book.running), book.state) == (0, 1, 0, "interrupted")
    assert [result.outcome for result in book.losses[0]] == [Outcome.LOST]
    epoch = log.acquire("cells-7")
    late = replace(done, attempt=2, metrics={"accuracy": 0.9, "parameters": 1.0})
    log.append("cells-7", epoch, [Entry(0, 20.0, "attempt", 0, {"number": 3}), Entry(0, 29.0, "tell", 0, done.json())])
    log.append("cells-7", epoch, [Entry(0, 30.0, "tell", 0, late.json())])
    book._due = 0.0
    book.catch_up()
    assert book.outcomes == {"completed": 1}
    assert [(span.start, span.end) for span in book.occupancy.latest][0::2] == [(10.0, 14.0), (20.0, 29.0)]
    texts = [one.text for one in book.happenings]
    assert any("the machine has gone" in text for text in texts)
    assert any("interrupted: a signal" in text for text in texts)


def test_a_book_whose_driver_is_gone_runs_nothing(log: Log) -> None:
    epoch = begin(log)
    trial = Trial(0, Candidate({"blocks": 1}))
    log.append("cells-7", epoch, [Entry(0, 1.0, "ask", 0, trial.json()), Entry(0, 1.0, "attempt", 0, {"number": 1})])
    book = Book(log, "cells-7")
    book.catch_up()
    assert len(book.running) == 1
    book.header = replace(book.header, heartbeat=0.0)
    assert book.state == "abandoned"
    assert book.running == []


def test_the_limits_follow_what_is_asked(log: Log) -> None:
    begin(log)
    book = Book(log, "cells-7")
    book.catch_up()
    assert budget(book.header, book.history)["trials"] == 100
    log.request("cells-7", "extend", {"budget": {"trials": 400}})
    book._due = 0.0
    version = book.version
    book.catch_up()
    assert budget(book.header, book.history)["trials"] == 400
    assert book.version > version


def test_a_shelf_keeps_few_books_and_the_digest_of_all() -> None:
    log = MemoryLog()
    for number in range(BOOKS + 4):
        begin(log, f"s{number}")
    shelf = Shelf(log)
    try:
        for number in range(BOOKS + 4):
            assert shelf.book(f"s{number}", patience=30.0).ready.is_set()
        assert len(shelf.open()) == BOOKS
        with pytest.raises(NotFoundError):
            shelf.book("nobody")
    finally:
        shelf.close()


def test_another_search_of_the_same_name_is_read_from_its_beginning(tmp_path: Path) -> None:
    log, invented = SqliteLog(tmp_path), Invented(30)
    epoch = begin(log)
    log.append("cells-7", epoch, written(invented))
    shelf = Shelf(log)
    try:
        assert len(shelf.book("cells-7", 30.0).history.trials) >= 30
        log.close()
        shutil.rmtree(tmp_path / "cells-7")
        shelf.log = log = SqliteLog(tmp_path)
        old = shelf.open()["cells-7"]
        old.log, old._due = log, 0.0
        epoch = begin(log)
        log.append("cells-7", epoch, written(Invented(3)))
        assert len(shelf.book("cells-7", 30.0).history.trials) < 10
    finally:
        shelf.close()
        log.close()


def test_a_damaged_journal_is_not_read_again_for_everybody_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    log, read = MemoryLog(), []
    begin(log)

    def entries(search: str, after: int = 0) -> Iterator[Entry]:
        read.append(search)
        raise DamagedError("entry 7 is damaged")

    monkeypatch.setattr(log, "entries", entries)
    shelf = Shelf(log)
    try:
        for _ in range(20):
            with pytest.raises(DamagedError):
                shelf.book("cells-7", 30.0)
        assert len(read) < 20
        before = len(read)
        shelf._books["cells-7"]._due = 0.0
        with pytest.raises(DamagedError):
            shelf.book("cells-7", 30.0)
        assert len(read) == before + 1
    finally:
        shelf.close()


numbers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40)


@given(numbers)
def test_a_front_that_grows_is_the_front_of_all(points: list[tuple[int, int]]) -> None:
    edge = Edge((ACCURACY, SIZE))
    records = [record(i, {"accuracy": float(x), "parameters": float(y)}) for i, (x, y) in enumerate(points)]
    for one in records:
        edge.ended(one)
    gains = [(float(x), -float(y)) for x, y in points]
    assert {one.trial.id for one in edge.records} == set(front(gains))


def record(number: int, metrics: Mapping[str, float], arm: str = "strategy") -> TrialRecord:
    trial = Trial(number, Candidate({"blocks": number % 3}), note={"arm": arm})
    made = TrialRecord(trial, 0.0)
    made.result = Result(number, 1, Outcome.COMPLETED, metrics, 1, 1.0)
    return made


spans = st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 900)), min_size=1, max_size=30)


@given(spans)
def test_busy_time_is_neither_lost_nor_made_up(times: Sequence[tuple[float, float]]) -> None:
    occupancy = Occupancy()
    occupancy.begin(0.0)
    for number, (start, seconds) in enumerate(times):
        occupancy.add(Span(number, start, start + seconds, "completed"))
    total = sum(occupancy._busy)
    assert total == pytest.approx(sum(seconds for _, seconds in times), rel=1e-6, abs=1e-6)
    levels = occupancy.levels(max(start + seconds for start, seconds in times) + 1)
    assert 0 < len(levels) <= BINS
    assert max(level for _, level in levels) <= len(times) + 1e-6


@given(spans)
def test_no_two_attempts_share_a_lane_at_once(times: Sequence[tuple[float, float]]) -> None:
    placed = lanes([Span(i, start, start + seconds, "completed") for i, (start, seconds) in enumerate(times)])
    by_lane: dict[int, list[Span]] = {}
    for lane, span in placed:
        before = by_lane.setdefault(lane, [])
        assert not before or before[-1].end <= span.start
        before.append(span)
    most = max(sum(a.start <= b.start < a.end or a is b for _, a in placed) for _, b in placed)
    assert len(by_lane) <= most


def test_a_long_series_is_thinned_evenly() -> None:
    series = Thinned(most=100)
    for number in range(100_000):
        series.add(float(number), 0.0, number)
    assert 50 <= len(series.trials) <= 100
    steps = {b - a for a, b in zip(series.trials, series.trials[1:], strict=False)}
    assert len(steps) == 1
    assert series.trials[-1] > 97_000


ends = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(-3, 3)), st.sampled_from(["strategy", "baseline"])), max_size=80
)


@given(
    ends, st.sampled_from(["", "trial", "accuracy", "parameters", "arm", "seconds"]), st.booleans(), st.integers(1, 4)
)
def test_the_table_is_sorted_and_paged_as_a_person_would(
    ended: list[tuple[int | None, str]], sort: str, down: bool, page: int
) -> None:
    ledger = Ledger((ACCURACY, SIZE))
    records = []
    for number, (value, arm) in enumerate(ended):
        metrics = {} if value is None else {"accuracy": float(value), "parameters": float(value)}
        records.append(record(number, metrics, arm))
        ledger.asked(records[-1])
        ledger.note(records[-1])
    pages = [ledger.find(Query(sort=sort, down=down, arm="strategy", page=n)) for n in range(1, 5)]
    chosen = [one for one in records if one.arm == "strategy"]
    order = [n for leaf in pages[: pages[0].pages] for n in leaf.trials]
    assert sorted(order) == [one.trial.id for one in chosen]
    assert all(leaf.total == len(chosen) and len(leaf.trials) <= PAGE for leaf in pages)
    assert ledger.find(Query(page=page + 10**6)).page == ledger.find(Query()).pages
    if sort in ("accuracy", "parameters"):
        values = [records[n].result.metrics.get(sort) for n in order]  # type: ignore[union-attr]
        there = [value for value in values if value is not None]
        assert values == there + [None] * (len(values) - len(there))
        assert there == sorted(there, reverse=(sort == "accuracy") is not down)
    elif sort in ("", "trial"):
        assert order == sorted(order, reverse=(sort == "") is not down)


def test_words_are_looked_for_in_candidates_and_errors() -> None:
    ledger = Ledger((ACCURACY,))
    for one in (record(0, {"accuracy": 1.0}), record(1, {}), record(2, {"accuracy": 0.5})):
        if one.trial.id == 1:
            one.result = Result(1, 1, Outcome.FAILED, {}, error="DivergedError: loss became NaN")
        ledger.asked(one)
        ledger.note(one)
    assert ledger.find(Query(text="blocks=2")).trials == (2,)
    assert ledger.find(Query(text="nan diverged")).trials == (1,)
    assert ledger.find(Query(state="failed")).trials == (1,)
    assert ledger.find(Query(text="nothing")).trials == ()


def test_objectives_that_are_gone_leave_a_page(log: Log) -> None:
    epoch = begin(log, job={"name": "bare"})
    log.append("cells-7", epoch, written(Invented(5)))
    book = Book(log, "cells-7")
    book.catch_up()
    assert objectives(book.header.job) == ()
    assert (book.searched, book.courses) == (5, {})


def test_a_search_that_is_opened_waits_for_no_list(log: Log) -> None:
    """A list of hundreds of searches is read in the background; somebody opens one of them meanwhile."""
    begin(log)
    shelf, held = Shelf(log), Event()

    def noted(_: Log, header: Header) -> Digest:
        assert held.wait(60)
        return Digest(stamp(header), 0, 0, 0, None, "", "", ())

    try:
        header = log.header("cells-7")
        shelf.want([replace(header, search=f"s{number}") for number in range(9)], noted)
        assert shelf.book("cells-7", 30.0).ready.is_set()
    finally:
        held.set()
        shelf.close()


def test_a_long_first_reading_makes_nothing_old(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its driver goes on meanwhile; and what is written then is read soon, not after ten times as long."""
    epoch, entries, clock = begin(log), log.entries, time.monotonic
    book = Book(log, "cells-7")

    def slow(search: str, after: int = 0) -> Iterator[Entry]:
        yield from entries(search, after)
        monkeypatch.setattr("nas.dashboard.book.time.monotonic", lambda: clock() + 60)
        monkeypatch.setattr("nas.log.time.time", lambda: started + 60)
        log.heartbeat("cells-7", epoch)

    started = time.time()
    monkeypatch.setattr(log, "entries", slow)
    book.catch_up()
    assert book.state == "running"
    assert book._due - time.monotonic() <= PAUSE
