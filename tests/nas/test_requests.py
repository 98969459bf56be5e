"""Requests of other processes are applied once, in their place in the history, whoever drives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tallying import Tally, answer, drive, kinds, see_requests

from nas.home import open_log
from nas.log import Log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = open_log(str(tmp_path))
    log.create("try", {}, {})
    yield log
    log.close()


def test_a_request_is_noticed_applied_once_and_relived_where_it_took_effect(log: Log) -> None:
    strategy = Tally(2)
    journal = drive(log, strategy)
    (first,) = journal.ask(strategy, 1)
    log.request("try", "enqueue", {"candidate": {"x": 3, "y": "b"}})
    log.request("try", "extend", {"trials": 1})
    journal.ask(strategy, 0)
    assert strategy.budget == 2  # not looked for in every turn
    see_requests(journal, strategy)
    assert strategy.budget == 3
    journal.tell(strategy, answer(first))
    (second,) = journal.ask(strategy, 1)
    assert second.trial.candidate.json() == {"x": 3, "y": "b"}
    assert second.trial.note == {"queued": True}
    see_requests(journal, strategy)
    again = Tally(2)
    drive(log, again)
    assert again.heard == strategy.heard
    assert again.budget == strategy.budget == 3
    assert kinds(log).count("applied") == 2


def test_a_request_is_not_applied_again_by_the_next_driver(log: Log) -> None:
    strategy = Tally(2)
    journal = drive(log, strategy)
    log.request("try", "extend", {"trials": 1})
    log.request("try", "stop", {})
    see_requests(journal, strategy)
    assert journal.stopping
    resumed = drive(log, again := Tally(2))
    see_requests(resumed, again)
    assert again.budget == 3
    assert not resumed.stopping
    assert kinds(log).count("applied") == 2


def test_a_request_that_comes_between_two_turns_is_not_overlooked(log: Log) -> None:
    journal = drive(log, strategy := Tally(2))
    see_requests(journal, strategy)
    (first,) = journal.ask(strategy, 1)
    log.request("try", "extend", {"trials": 1})
    journal.tell(strategy, answer(first))
    journal.ask(strategy, 1)  # what is written behind the request is no sign that it was seen
    see_requests(journal, strategy)
    assert strategy.budget == 3


def test_a_request_to_a_driver_that_died_is_applied_by_the_next(log: Log) -> None:
    journal = drive(log, strategy := Tally(1))
    journal.tell(strategy, answer(journal.ask(strategy, 1)[0]))
    journal.commit()
    log.request("try", "extend", {"trials": 2})
    resumed = drive(log, second := Tally(1))
    assert not resumed.over(second)
    assert second.budget == 3
    drive(log, third := Tally(1))
    assert third.budget == 3


def test_a_stop_ends_one_driver_and_not_the_next(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    (attempt,) = journal.ask(strategy, 1)
    log.request("try", "stop", {})
    see_requests(journal, strategy)
    assert journal.stopping
    assert not journal.stopping_now
    assert not journal.over(strategy)  # what runs may finish
    journal.tell(strategy, answer(attempt))
    assert journal.over(strategy)
    journal.commit()
    assert not drive(log, Tally()).stopping


def test_a_stop_asked_of_a_driver_that_died_is_not_for_the_next(log: Log) -> None:
    drive(log, Tally())
    log.request("try", "stop", {})
    resumed = drive(log, strategy := Tally())
    assert not resumed.stopping
    assert kinds(log) == ["request", "applied"]
    log.request("try", "stop", {})
    see_requests(resumed, strategy)
    assert resumed.stopping


def test_a_stop_before_the_first_driver_is_for_it(log: Log) -> None:
    log.request("try", "stop", {})
    assert drive(log, Tally()).stopping


def test_a_stop_at_once_does_not_wait_for_what_runs(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    journal.ask(strategy, 1)
    log.request("try", "stop", {"now": True})
    see_requests(journal, strategy)
    assert journal.over(strategy)


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("enqueue", {"candidate": {"x": 9, "y": "a"}}, "ignored: DecisionError: x is 9, but must be one of 1, 2, 3"),
        ("enqueue", {}, "ignored: KeyError"),
        ("extend", {}, "ignored: KeyError"),
    ],
)
def test_a_request_that_cannot_be_applied_is_noted_once(log: Log, kind: str, body: Any, why: str) -> None:
    log.request("try", kind, body)
    for _ in range(2):
        journal = drive(log, Tally())
        (note,) = journal.history.notes
        assert why in note.body["text"]
