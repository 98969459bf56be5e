"""What a history says of a search: counts, standings and times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.history import Entry, History, TrialRecord
from search_spaces.decisions import Candidate
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Json, Result, Trial

Metrics = Mapping[str, float]
ACCURACY = Objective("accuracy", Direction.MAXIMIZE)
PARAMETERS = Objective("parameters", Direction.MINIMIZE)


def entry(time: float, kind: str, trial: int | None = None, **body: Json) -> Entry:
    return Entry(0, time, kind, trial, body)


def ask(history: History, trial: int, note: dict[str, Json] | None = None, epochs: int = 1, horizon: int = 1) -> None:
    record = Trial(trial, Candidate({"x": trial}), epochs=epochs, horizon=horizon, note=note or {}).json()
    history.feed(entry(history.last_at or 0.0, "ask", trial, **record))


Span = tuple[float, float]


def run(history: History, trial: int, span: Span, metrics: Metrics | None = None, outcome: str = "completed") -> None:
    attempt = history.trials[trial].attempts + 1
    history.feed(entry(span[0], "attempt", trial, number=attempt))
    result = Result(trial, attempt, Outcome(outcome), metrics or {}, seconds=span[1] - span[0], device_seconds=1.0)
    history.feed(entry(span[1], "tell", trial, **result.json()))


def finished(*metrics: Metrics) -> History:
    """A history of trials that completed with `metrics`, one after the other, a second each."""
    history = History()
    history.feed(entry(0.0, "driver", epoch=1))
    for trial, one in enumerate(metrics):
        ask(history, trial)
        run(history, trial, (float(trial), trial + 1.0), one)
    return history


def ids(records: Iterable[TrialRecord]) -> list[int]:
    return [record.trial.id for record in records]


def test_the_best_are_fully_trained_trials_of_the_search_and_ties_go_to_the_earlier() -> None:
    history = finished({"accuracy": 0.5}, {"accuracy": 0.9}, {"accuracy": 0.9}, {"accuracy": math.nan}, {})
    notes: list[tuple[int, dict[str, Json]]] = [(1, {}), (3, {}), (4, {"arm": "final"})]
    for trial, (epochs, note) in enumerate(notes, start=5):
        ask(history, trial, note, epochs, 4)
        run(history, trial, (9.0, 10.0), {"accuracy": 1.0})
    ask(history, 8)
    run(history, 8, (10.0, 11.0), {"accuracy": 1.0}, "failed")
    assert ids(history.best(ACCURACY, 9)) == [1, 2, 0]
    assert ids(history.best(ACCURACY)) == [1]
    assert ids(history.searched()) == [0, 1, 2, 3, 4, 5, 6, 8]


def test_smaller_is_better_where_the_objective_says_so() -> None:
    history = finished({"parameters": 5.0}, {"parameters": 3.0}, {"parameters": 4.0})
    assert ids(history.best(PARAMETERS, 2)) == [1, 2]


def test_the_front_is_what_nothing_else_beats() -> None:
    points = [(0.5, 10.0), (0.6, 10.0), (0.9, 50.0), (0.6, 9.0), (0.6, 9.0), (0.2, 1.0), (0.9, 60.0)]
    history = finished(*({"accuracy": a, "parameters": p} for a, p in points))
    assert ids(history.front([ACCURACY, PARAMETERS])) == [2, 3, 4, 5]


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=25))
def test_the_front_agrees_with_its_definition(points: list[tuple[int, int, int]]) -> None:
    objectives = [ACCURACY, PARAMETERS, Objective("latency", Direction.MINIMIZE)]
    history = finished(*({"accuracy": float(a), "parameters": float(p), "latency": float(t)} for a, p, t in points))
    gains = [(a, -p, -t) for a, p, t in points]

    def beaten(one: tuple[int, int, int]) -> bool:
        return any(other != one and all(a >= b for a, b in zip(other, one, strict=True)) for other in gains)

    expected = {trial for trial, one in enumerate(gains) if not beaten(one)}
    assert set(ids(history.front(objectives))) == expected


def test_the_arms_have_all_that_was_asked_in_them() -> None:
    history = History()
    history.feed(entry(0.0, "driver", epoch=1))
    numbers = count(1)
    for arm, outcome, accuracy in [
        (None, "completed", 0.3),
        ("baseline", "completed", 0.8),
        (None, "failed", 0.0),
        (None, "completed", 0.2),
        (None, "completed", 0.4),
    ]:
        trial = next(numbers)
        ask(history, trial, {"arm": arm} if arm else {})
        run(history, trial, (trial - 1.0, float(trial)), {"accuracy": accuracy}, outcome)
    assert {arm: ids(records) for arm, records in history.arms().items()} == {
        "strategy": [1, 3, 4, 5],
        "baseline": [2],
    }
    assert history.outcomes == {Outcome.COMPLETED: 4, Outcome.FAILED: 1}


def test_what_lies_between_two_drivers_is_no_work() -> None:
    history = finished({"accuracy": 0.5})
    history.feed(entry(2.0, "state", state="interrupted"))
    history.feed(Entry(1, 90.0, "request", None, {"kind": "stop"}))
    history.feed(entry(100.0, "driver", epoch=2))
    history.feed(entry(103.0, "state", state="finished"))
    assert history.worked == 2.0 + 3.0


def test_every_attempt_counts_towards_seconds_and_workers() -> None:
    history = History()
    history.feed(entry(0.0, "driver", epoch=1))
    for trial in range(3):
        ask(history, trial)
    run(history, 0, (1.0, 4.0), outcome="lost")
    run(history, 1, (2.0, 6.0))
    run(history, 0, (5.0, 8.0))
    history.feed(entry(8.0, "attempt", 2, number=1))
    record = history.trials[0]
    assert (record.seconds, record.device_seconds, record.losses, record.attempts) == (6.0, 2.0, 1, 2)
    assert (record.busy, history.trials[1].busy) == ([(1.0, 4.0), (5.0, 8.0)], [(2.0, 6.0)])
    assert history.busy() == 7.0
    assert list(history.running) == history.waiting() == [2]


def test_what_ran_under_a_driver_that_died_ran_until_it_was_last_heard() -> None:
    history = History()
    ask(history, 0)
    history.feed(entry(1.0, "attempt", 0, number=1))
    history.feed(entry(3.0, "slots", total=4))
    history.feed(entry(90.0, "driver", epoch=2))
    assert history.trials[0].busy == [(1.0, 3.0)]
    assert not history.trials[0].running
    assert (history.state, len(history.drivers)) == ("running", 1)


def test_what_a_user_asks_between_two_drivers_is_not_time_that_anything_ran() -> None:
    history = History()
    history.feed(entry(0.0, "driver", epoch=1))
    ask(history, 0)
    history.feed(entry(1.0, "attempt", 0, number=1))
    history.feed(entry(4.0, "progress", 0, attempt=1, epoch=1, metrics={}))  # then it is killed
    history.feed(Entry(0, 900.0, "request", None, {"kind": "extend", "budget": {"trials": 9}}))
    history.feed(entry(1000.0, "driver", epoch=2))
    assert history.trials[0].busy == [(1.0, 4.0)]
    history.feed(entry(1001.0, "attempt", 0, number=2))
    history.feed(entry(1003.0, "progress", 0, attempt=2, epoch=1, metrics={}))
    history.feed(entry(1004.0, "state", state="stopped"))
    assert history.busy() == 3.0 + 2.0


def test_state_and_artifacts_are_as_last_said() -> None:
    history = finished({})
    history.feed(entry(1.0, "artifact", 0, attempt=1, name="checkpoint.safetensors", bytes=9, digest="ab"))
    history.feed(entry(1.0, "artifact", 0, attempt=1, name="checkpoint.safetensors", deleted=True))
    history.feed(entry(2.0, "state", state="stopped", reason="by a person"))
    assert history.artifacts[0, 1, "checkpoint.safetensors"] == {
        "attempt": 1,
        "name": "checkpoint.safetensors",
        "deleted": True,
    }
    assert (history.state, history.reason, history.last_at) == ("stopped", "by a person", 2.0)


@pytest.mark.parametrize("kind", ["attempt", "tell", "progress", "artifact", "future"])
def test_entries_of_a_trial_that_was_lost_with_a_damaged_file_are_skipped(kind: str) -> None:
    history = finished({"accuracy": 0.5})
    result = Result(7, 1, Outcome.COMPLETED).json()
    history.feed(entry(3.0, kind, 7, **{**result, "number": 1, "epoch": 1, "name": "x"}))
    assert list(history.trials) == [0]


def test_a_curve_has_each_epoch_once_whichever_attempt_trained_it() -> None:
    history = History()
    ask(history, 0)
    for time, (attempt, epoch) in enumerate([(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 4)]):
        body = {"attempt": attempt, "epoch": epoch, "metrics": {"loss": float(10 * attempt + epoch)}}
        history.feed(entry(float(time), "progress", 0, **body))
    assert history.trials[0].curve == [
        (1, {"loss": 11.0}),
        (2, {"loss": 22.0}),
        (3, {"loss": 23.0}),
        (4, {"loss": 24.0}),
    ]
