"""Virtual time: attempts take as long as they say, whatever the clock on the wall does."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pool import Progress, Slots
from workers.pools.simulated import Simulated
from workers.setup import Setup
from workers.trial import Attempt, Result, Trial

SETUP = Setup("s", Spec("none"))


def answer(attempt: Attempt) -> Result:
    """Takes as many seconds as the candidate says."""
    seconds = float(attempt.trial.candidate["seconds"])
    return Result(attempt.trial.id, attempt.number, Outcome.COMPLETED, {"score": 1.0}, 1, seconds)


def run(durations: list[float], slots: int, deaths: tuple[float, ...] = ()) -> tuple[list[tuple[float, Result]], float]:
    """The results with the times at which they came, submitting in order whenever there is a place."""
    pool = Simulated(SETUP, slots=slots, answer=answer, deaths=deaths)
    waiting = [Attempt(Trial(i, Candidate({"seconds": duration}))) for i, duration in enumerate(durations)]
    ended = []
    while waiting or pool.busy:
        while pool.free and waiting:
            pool.submit(waiting.pop(0))
        ended += [(pool.now, event) for event in pool.wait() if isinstance(event, Result)]
    return ended, pool.now


@given(st.lists(st.floats(0.01, 1e6), max_size=30), st.integers(1, 8))
def test_the_schedule_is_that_of_a_list_scheduler(durations: list[float], slots: int) -> None:
    ended, now = run(durations, slots)
    free = [0.0] * slots
    expected = {}
    for i, duration in enumerate(durations):
        place = free.index(min(free))
        free[place] += duration
        expected[i] = free[place]
    assert {result.trial_id: at for at, result in ended} == pytest.approx(expected)
    assert now == pytest.approx(max(free))
    assert all(before <= after for (before, _), (after, _) in pairwise(ended))


def test_a_year_passes_at_once() -> None:
    before = time.monotonic()
    _, now = run([86400.0] * 365, 1)
    assert now == 365 * 86400
    assert time.monotonic() - before < 60


def test_equal_times_are_answered_in_the_order_of_submission_and_together() -> None:
    pool = Simulated(SETUP, slots=3, answer=answer)
    assert pool.wait() == [Slots(3)]
    for i in range(3):
        pool.submit(Attempt(Trial(i, Candidate({"seconds": 5.0}))))
    events = pool.wait()
    assert [event.trial_id for event in events if isinstance(event, Result)] == [0, 1, 2]


def test_a_death_takes_the_attempt_that_has_run_for_longest_and_the_slot_comes_back() -> None:
    ended, _ = run([10.0, 4.0, 4.0], 2, deaths=(6.0, 100.0))
    assert [(at, r.trial_id, r.outcome) for at, r in ended] == [
        (4.0, 1, Outcome.COMPLETED),
        (6.0, 0, Outcome.LOST),
        (8.0, 2, Outcome.COMPLETED),
    ]


CHILD = """
from workers.task import Epoch, Task
from workers.objectives import Direction, Objective
from search_spaces.decisions import Decisions
from search_spaces.space import Signature


class Table(Task):
    decisions = Decisions()
    signature = Signature("none")
    objectives = (Objective("score", Direction.MAXIMIZE),)
    epochs = 4

    def train(self, model, trial, state):
        for epoch in range(1, trial.epochs + 1):
            yield Epoch({"score": float(epoch), "seconds": 10.0 * epoch})
"""


@pytest.fixture
def table(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Spec:
    folder = tmp_path_factory.mktemp("table")
    (folder / "simulated_table.py").write_text(CHILD)
    monkeypatch.syspath_prepend(str(folder))
    return Spec("simulated_table:Table")


def test_a_task_says_its_seconds_and_its_epochs_are_spread_over_them(table: Spec) -> None:
    pool = Simulated(Setup("s", table), slots=1)
    pool.wait()
    pool.submit(Attempt(Trial(0, Candidate({}), epochs=4, horizon=4)))
    seen = []
    while pool.busy:
        events = pool.wait()
        seen += [
            (pool.now, type(event), event.metrics["score"]) for event in events if isinstance(event, Progress | Result)
        ]
    assert seen == [(10, Progress, 1), (20, Progress, 2), (30, Progress, 3), (40, Result, 4)]


def test_a_retraining_of_more_epochs_gets_as_much_more_time(table: Spec) -> None:
    pool = Simulated(Setup("s", table, time_limit=25.0, epochs=2), slots=3)
    for number, epochs in enumerate((4, 1, 5)):  # at 10 s each
        pool.submit(Attempt(Trial(number, Candidate({}), epochs=epochs, horizon=epochs)))
    outcomes: dict[int, Outcome] = {}
    while pool.busy:
        outcomes |= {event.trial_id: event.outcome for event in pool.wait() if isinstance(event, Result)}
    assert outcomes == dict.fromkeys(range(3), Outcome.COMPLETED)


def test_what_exceeds_its_time_limit_fails_there_with_its_last_metrics(table: Spec) -> None:
    pool = Simulated(Setup("s", table, time_limit=25.0), slots=1)
    pool.submit(Attempt(Trial(0, Candidate({}), epochs=4, horizon=4)))
    results = []
    while pool.busy:
        results += [event for event in pool.wait() if isinstance(event, Result)]
    (result,) = results
    assert pool.now == 25.0
    assert (result.outcome, result.metrics["score"], result.epochs, result.seconds) == (Outcome.FAILED, 2.0, 2, 25.0)
