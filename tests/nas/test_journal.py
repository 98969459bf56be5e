"""A journal tells each trial's result once, whatever is lost, killed or asked in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tallying import ACCURACY, Tally, answer, drive, kinds, same

from nas.history import History
from nas.home import open_log
from nas.journal import Journal
from nas.log import Log, Superseded
from workers.errors import UserError
from workers.objectives import Outcome
from workers.pool import Notice, Progress, Slots
from workers.trial import Attempt, Result


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = open_log(str(tmp_path))
    log.create("try", {}, {})
    yield log
    log.close()


def test_an_attempt_is_written_before_it_is_handed_out(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    attempts = journal.ask(strategy, 2)
    assert [(one.trial.id, one.number) for one in attempts] == [(0, 1), (1, 1)]
    assert kinds(log) == ["ask", "attempt", "ask", "attempt"]


def test_no_password_is_in_a_note_or_in_the_reason_of_an_end(log: Log) -> None:
    journal = drive(log, Tally())
    journal.note("cannot reach http://me:correct-horse@host")
    journal.release("failed", "s3://key:battery@bucket is away")
    said = [str(dict(entry.body)) for entry in log.entries("try")]
    assert any("http://me:***@host" in one for one in said)
    assert not any("correct-horse" in one or "battery" in one for one in said)
    assert log.header("try").reason == "s3://key:***@bucket is away"


def test_a_turn_is_one_commit_of_what_was_told_and_what_is_asked(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    (first,) = journal.ask(strategy, 1)
    journal.tell(strategy, answer(first))
    assert kinds(log) == ["ask", "attempt"]  # nothing that depends on it has left the driver yet
    journal.ask(strategy, 1)
    assert kinds(log) == ["ask", "attempt", "tell", "ask", "attempt"]


def test_a_new_driver_lives_through_the_same_history(log: Log) -> None:
    first = Tally(4)
    journal = drive(log, first)
    one, two = journal.ask(first, 2)
    journal.tell(first, answer(two))
    journal.tell(first, answer(one, Outcome.FAILED))
    (three,) = journal.ask(first, 1)
    second = Tally(4)
    resumed = drive(log, second)
    assert second.heard == first.heard
    assert second.next_id == first.next_id
    assert [(again.trial, again.number) for again in resumed.ask(second, 1)] == [(three.trial, 2)]
    assert second.heard == first.heard  # what is issued again is not asked again


def test_a_lost_trial_is_issued_again_and_given_up_after_the_third_time(log: Log) -> None:
    journal = drive(log, strategy := Tally(1))
    for number in (1, 2, 3):
        (attempt,) = journal.ask(strategy, 4)
        assert (attempt.trial.id, attempt.number) == (0, number)
        journal.tell(strategy, Result(0, number, Outcome.LOST, seconds=5.0, error="signal 9"))
    assert journal.ask(strategy, 4) == []
    assert journal.over(strategy)
    record = journal.history.trials[0]
    assert record.result
    assert record.result.outcome is Outcome.FAILED
    assert record.result.error == "killed its worker 3 times, at last: signal 9"
    assert (record.losses, record.seconds, record.attempts) == (3, 15.0, 3)
    assert [told for told in strategy.heard if told[0] == "told"] == [("told", (0, Outcome.FAILED, {}))]


def test_losses_are_counted_over_restarts(log: Log) -> None:
    for number in (1, 2, 3):
        journal = drive(log, strategy := Tally(1))
        (attempt,) = journal.ask(strategy, 1)
        assert attempt.number == number
        journal.tell(strategy, answer(attempt, Outcome.LOST))
        journal.commit()
    assert journal.history.trials[0].result is not None


def test_a_stopped_trial_is_left_to_the_next_driver(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    (attempt,) = journal.ask(strategy, 1)
    journal.stop()
    journal.tell(strategy, answer(attempt, Outcome.STOPPED))
    assert journal.ask(strategy, 1) == []
    assert journal.over(strategy)
    journal.release("stopped")
    resumed = drive(log, fresh := Tally())
    assert [one.number for one in resumed.ask(fresh, 1)] == [2]


@pytest.mark.parametrize("attempt", [1, 3])
def test_a_result_that_nobody_waits_for_is_ignored_and_noted(log: Log, attempt: int) -> None:
    journal = drive(log, strategy := Tally())
    (first,) = journal.ask(strategy, 1)
    journal.tell(strategy, answer(first, Outcome.LOST))
    (second,) = journal.ask(strategy, 1)
    journal.tell(strategy, Result(0, attempt, Outcome.COMPLETED, {"accuracy": 0.99}))
    journal.tell(strategy, answer(second))
    journal.commit()
    assert kinds(log, "ask", "attempt") == ["tell", "note", "tell"]
    assert strategy.heard[-1] == ("told", (0, Outcome.COMPLETED, {"accuracy": 0.0}))


def test_a_trial_has_one_result(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    (attempt,) = journal.ask(strategy, 1)
    journal.tell(strategy, answer(attempt))
    journal.tell(strategy, Result(0, 1, Outcome.COMPLETED, {"accuracy": 0.99}))
    journal.tell(strategy, Result(17, 1, Outcome.COMPLETED, {"accuracy": 0.99}))
    journal.commit()
    assert kinds(log) == ["ask", "attempt", "tell", "note", "note"]
    assert journal.history.outcomes == {Outcome.COMPLETED: 1}
    assert len(strategy.heard) == 2


def test_a_child_comes_with_its_parents_finished_attempt(log: Log) -> None:
    journal = drive(log, strategy := Tally(6))
    trials: dict[int, Attempt] = {}
    while not journal.over(strategy):
        for attempt in journal.ask(strategy, 1):
            lost = attempt.trial.id == 1 and attempt.number == 1
            trials[attempt.trial.id] = attempt
            journal.tell(strategy, answer(attempt, Outcome.LOST if lost else Outcome.COMPLETED))
    assert trials[2].parent == trials[1]
    assert trials[1].number == 2
    assert trials[1].parent is None
    journal.commit()
    assert History.of(log.entries("try")).trials[5].attempt == trials[5]


def test_a_result_that_the_strategy_cannot_digest_bricks_nothing(log: Log) -> None:
    journal = drive(log, strategy := Tally(chokes_on=0))
    one, two = journal.ask(strategy, 2)
    journal.tell(strategy, answer(one))
    journal.tell(strategy, answer(two))
    journal.commit()
    (note,) = journal.history.notes
    assert note.trial == 0
    assert "Tally cannot digest trial 0 (KeyError: 'accuracy')" in note.body["text"]
    resumed = drive(log, again := Tally())  # which could digest it, but takes up the history as it was
    assert again.heard == strategy.heard
    assert again.heard[2] == ("told", (0, Outcome.FAILED, {})), "or it would wait for it for ever"
    assert resumed.history.trials[0].completed  # a result is a fact, whatever a strategy makes of it
    assert len(resumed.history.notes) == 1


def test_a_result_that_a_changed_strategy_cannot_digest_is_set_aside_in_the_replay(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    journal.tell(strategy, answer(journal.ask(strategy, 1)[0]))
    journal.commit()
    for _ in range(2):
        resumed = drive(log, changed := Tally(chokes_on=0))
        assert changed.next_id == 1
        assert [note.trial for note in resumed.history.notes] == [0]


def test_progress_waits_for_a_commit_that_matters(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    (attempt,) = journal.ask(strategy, 1)
    journal.tell(strategy, Progress(0, 1, 1, {"accuracy": 0.25}))
    journal.tell(strategy, Progress(0, 2, 1, {"accuracy": 0.5}))  # of an attempt that is not this one
    journal.ask(strategy, 0)
    assert kinds(log) == ["ask", "attempt"]
    assert journal.history.trials[0].curve == [(1, {"accuracy": 0.25})]
    journal.tell(strategy, answer(attempt))
    journal.commit()
    assert kinds(log) == ["ask", "attempt", "progress", "tell"]
    assert History.of(log.entries("try")).trials[0].curve == [(1, {"accuracy": 0.25})]


def test_progress_does_not_wait_for_ever(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = drive(log, strategy := Tally())
    journal.ask(strategy, 1)
    journal.tell(strategy, Progress(0, 1, 1, {}))
    later = time.monotonic() + 2
    monkeypatch.setattr(time, "monotonic", lambda: later)
    journal.commit()
    assert kinds(log)[-1] == "progress"


def test_slots_are_written_when_they_change(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    for total in (2, 2, 3):
        journal.tell(strategy, Slots(total))
    journal.ask(strategy, 1)
    assert [one.body["total"] for one in log.entries("try", kinds=("slots",))] == [2, 3]


def test_what_a_pool_says_to_people_is_a_note_without_its_passwords(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    journal.tell(strategy, Notice("no trial can run: postgresql://me:secret@db/x is gone"))
    journal.ask(strategy, 1)
    (note,) = log.entries("try", kinds=("note",))
    assert note.body["text"].startswith("no trial can run: ")
    assert "secret" not in note.body["text"]


def test_a_strategy_that_gives_nothing_and_is_not_exhausted_is_named(log: Log) -> None:
    strategy = Tally(2)
    journal = drive(log, strategy)
    (attempt,) = journal.ask(strategy, 1)
    strategy.propose = lambda draw: None  # type: ignore[method-assign]
    assert journal.ask(strategy, 1) == []  # while something runs that is well
    journal.tell(strategy, answer(attempt))
    with pytest.raises(UserError, match="Tally gives nothing to try though nothing runs"):
        journal.ask(strategy, 1)
    assert kinds(log)[-1] == "tell"  # what had finished was written first


@pytest.mark.parametrize(("change", "message"), [({"id": 0}, "trial 0 twice"), ({"parent": 9}, "continues trial 9")])
def test_a_trial_that_contradicts_the_history_is_refused(log: Log, change: dict[str, int], message: str) -> None:
    strategy = Tally()
    journal = drive(log, strategy)
    (first,) = journal.ask(strategy, 1)
    strategy.propose = lambda draw: replace(first.trial, **({"id": 1} | change))  # type: ignore[method-assign, arg-type]
    with pytest.raises(ValueError, match=message):
        journal.ask(strategy, 1)


def test_a_driver_that_was_taken_over_from_writes_nothing_more(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    (attempt,) = journal.ask(strategy, 1)
    other = drive(log, second := Tally())
    journal.tell(strategy, answer(attempt))
    with pytest.raises(Superseded):
        journal.ask(strategy, 1)
    with pytest.raises(Superseded):
        journal.release("finished")
    (again,) = other.ask(second, 1)
    assert (again.trial.id, again.number) == (0, 2)
    assert kinds(log) == ["ask", "attempt", "attempt"]


def test_a_second_driver_is_refused_while_the_first_is_at_work(log: Log) -> None:
    drive(log, Tally())
    with pytest.raises(UserError, match="a search has one driver"):
        drive(log, Tally(), force=False)


def test_the_heartbeat_goes_on_while_a_strategy_thinks_and_tells_of_a_takeover(log: Log) -> None:
    journal = Journal(log, "try", log.acquire("try"), pulse=0.001)
    journal.replay(Tally())
    before = log.header("try").heartbeat
    while log.header("try").heartbeat == before:
        time.sleep(0.001)
    log.acquire("try", force=True)
    assert journal._pulse is not None
    journal._pulse._thread.join(30)
    with pytest.raises(Superseded):
        journal.commit()
    journal.close()


def test_a_release_writes_what_is_left(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    (attempt,) = journal.ask(strategy, 1)
    journal.tell(strategy, Progress(0, 1, 1, {}))
    journal.tell(strategy, answer(attempt))
    journal.release("finished", "the budget is spent")
    assert kinds(log) == ["ask", "attempt", "progress", "tell", "state"]
    assert log.header("try").state == "finished"


def test_what_a_driver_knows_is_what_a_reader_reads(log: Log) -> None:
    journal = drive(log, strategy := Tally())
    one, two = journal.ask(strategy, 2)
    journal.tell(strategy, Slots(2))
    journal.tell(strategy, answer(one))
    journal.write("artifact", 0, {"attempt": 1, "name": "checkpoint.safetensors", "bytes": 3, "digest": "ab"})
    journal.tell(strategy, answer(two, Outcome.INFEASIBLE))
    journal.ask(strategy, 2)
    assert same(journal.history, History.of(log.entries("try")))
    assert [one.trial.id for one in journal.history.best(ACCURACY)] == [0]
