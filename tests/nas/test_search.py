"""The loop, and what is left of it when the driver is killed before any of its statements."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import final

import pytest
from tallying import ScriptedPool, Tally, answer, in_child, same

from nas.history import History
from nas.journal import Journal
from nas.logs.sqlite import SqliteLog
from nas.search import search
from workers.objectives import Outcome
from workers.pool import Event, Pool
from workers.trial import Attempt

BUDGET = 3


def begin(folder: Path) -> SqliteLog:
    log = SqliteLog(folder)
    log.create("try", {}, {})
    return log


def run(log: SqliteLog, pool: Pool, strategy: Tally) -> Journal:
    journal = Journal(log, "try", log.acquire("try"), pulse=None)
    search(strategy, pool, journal)
    journal.release("finished")
    return journal


@pytest.mark.parametrize("slots", [1, 3])
def test_a_search_runs_to_its_end(tmp_path: Path, slots: int) -> None:
    log, pool, strategy = begin(tmp_path), ScriptedPool(slots), Tally(7)
    journal = run(log, pool, strategy)
    assert [attempt.trial.id for attempt in pool.submitted] == list(range(7))
    assert journal.history.outcomes == {Outcome.COMPLETED: 7}
    assert log.header("try").state == "finished"
    assert same(journal.history, History.of(log.entries("try"))) is False  # but for the last entry, which says so
    log.close()


def test_a_lost_worker_costs_an_attempt_and_no_trial(tmp_path: Path) -> None:
    def script(attempt: Attempt) -> Event:
        lost = attempt.trial.id == 1 and attempt.number < 3
        return answer(attempt, Outcome.LOST if lost else Outcome.COMPLETED)

    log, pool = begin(tmp_path), ScriptedPool(2, script)
    journal = run(log, pool, Tally(3))
    assert Counter(attempt.trial.id for attempt in pool.submitted) == {0: 1, 1: 3, 2: 1}
    assert journal.history.outcomes == {Outcome.COMPLETED: 3}
    log.close()


def test_a_stop_lets_what_runs_finish_and_asks_for_no_more(tmp_path: Path) -> None:
    log = begin(tmp_path)

    def script(attempt: Attempt) -> Event:
        if attempt.trial.id == 1:
            journal.stop()
        return answer(attempt)

    pool, strategy = ScriptedPool(2, script), Tally(9)
    journal = Journal(log, "try", log.acquire("try"), pulse=None)
    search(strategy, pool, journal)
    assert len(pool.submitted) == 2
    assert not pool.busy
    assert [entry.kind for entry in log.entries("try")][-2:] == ["tell", "tell"]  # nothing waits to be written
    log.close()


def test_a_stop_at_once_leaves_what_runs_to_a_resume(tmp_path: Path) -> None:
    log = begin(tmp_path)

    def script(attempt: Attempt) -> None:
        if attempt.trial.id == 0:
            journal.stop(now=True)

    pool = ScriptedPool(2, script)
    journal = Journal(log, "try", log.acquire("try"), pulse=None)
    search(Tally(9), pool, journal)
    assert pool.busy == 2
    journal.release("stopped")
    resumed = ScriptedPool(2)
    run(log, resumed, Tally(9))
    assert [(attempt.trial.id, attempt.number) for attempt in resumed.submitted][:3] == [(0, 2), (1, 2), (2, 1)]
    log.close()


def test_an_observer_sees_every_turn(tmp_path: Path) -> None:
    seen: list[int] = []

    @final
    class Counting:
        def turn(self, history: History, pool: Pool) -> None:
            seen.append(len(history.trials))

    log = begin(tmp_path)
    journal = Journal(log, "try", log.acquire("try"), pulse=None)
    search(Tally(3), ScriptedPool(1), journal, Counting())
    assert seen == [1, 2, 3]
    log.close()


def driver(folder: Path, slots: int, statements: int) -> None:
    """A driver that is killed before its `statements`th statement; its workers write a ledger of what they started."""
    log = SqliteLog(folder)
    log.header("try")
    left = statements

    def count(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def work(attempt: Attempt) -> Event:
        with (folder / "ledger").open("a") as ledger:
            ledger.write(f"{attempt.trial.id} {attempt.number}\n")
        return answer(attempt)

    log._known("try").connection.set_trace_callback(count)
    run(log, ScriptedPool(slots, work), Tally(BUDGET))
    log.close()


@pytest.mark.parametrize("slots", [1, 2])
def test_a_driver_killed_before_any_statement_loses_nothing_and_repeats_no_result(tmp_path: Path, slots: int) -> None:
    begin(tmp_path / "unbroken").close()
    driver(tmp_path / "unbroken", 1, 0)
    with closing(SqliteLog(tmp_path / "unbroken")) as log:
        expected = [r.trial.candidate for r in History.of(log.entries("try")).trials.values()]
    statements, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        statements += 1
        folder = tmp_path / str(statements)
        begin(folder).close()
        status, said = in_child(lambda folder=folder, n=statements: driver(folder, slots, n))  # type: ignore[misc]
        assert status in (0, -signal.SIGKILL), said
        log = SqliteLog(folder)
        before = History.of(log.entries("try"))
        if status != 0:
            assert in_child(lambda folder=folder: driver(folder, slots, 0))[0] == 0  # type: ignore[misc]
        check(log, folder, before, slots)
        if slots == 1:
            assert [r.trial.candidate for r in History.of(log.entries("try")).trials.values()] == expected
        log.close()
    assert statements > 25


def check(log: SqliteLog, folder: Path, before: History, slots: int) -> None:
    """The ledger of the workers is the oracle, not the journal."""
    entries = list(log.entries("try"))
    started = [tuple(map(int, line.split())) for line in (folder / "ledger").read_text().splitlines()]
    assert len(started) == len(set(started))  # no attempt is ever given out twice
    assert len(started) <= BUDGET + slots
    assert {trial for trial, _ in started} == set(range(BUDGET))
    issued = [(entry.trial, entry.body["number"]) for entry in entries if entry.kind == "attempt"]
    assert set(started) <= set(issued)
    assert Counter(entry.trial for entry in entries if entry.kind == "tell") == dict.fromkeys(range(BUDGET), 1)
    after = History.of(entries)
    assert not after.waiting()
    for trial, record in before.trials.items():
        assert record.result is None or record.result == after.trials[trial].result
