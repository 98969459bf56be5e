"""Where a search stands, said of its header and its history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.history import Entry, History
from nas.log import Header
from nas.process import Process
from nas.summary import budget, counts, goal, objectives, sorted_by, standing, state, trial
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

JOB = {"objectives": [{"metric": "loss", "direction": "minimize"}], "budget": {"trials": 5, "seconds": 60.0}}
HEADER = Header("digits", 1.0, JOB, {}, 1, "running", driver=Process("elsewhere", 1), heartbeat=0.0)


def test_a_search_runs_while_its_driver_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.log.time.time", lambda: 1000.0)
    assert state(replace(HEADER, heartbeat=999.0)) == "running"
    assert state(replace(HEADER, heartbeat=1.0)) == "abandoned"
    assert state(replace(HEADER, heartbeat=1.0, state="finished")) == "finished"


def test_the_goal_of_a_resumed_search_is_what_is_left_of_its_time() -> None:
    assert goal("digits", JOB, spent=45.0).seconds == 15.0
    assert goal("digits", JOB, spent=90.0).seconds == 0.0
    assert goal("digits", {**JOB, "budget": {"trials": 5}}).seconds is None
    assert goal("digits", {}).objectives == ()


def test_the_budget_is_what_was_asked_for_last() -> None:
    history = History()
    for sequence, limits in enumerate([{"trials": 9}, {"trials": 12, "seconds": None}]):
        history.feed(Entry(sequence, 1.0, "request", None, {"kind": "extend", "budget": limits}))
    history.feed(Entry(3, 1.0, "request", None, {"kind": "stop"}))
    assert budget(HEADER, history) == {"trials": 12, "seconds": None}


def test_every_trial_is_counted_once() -> None:
    history = History()
    outcomes = [Outcome.COMPLETED, Outcome.FAILED, Outcome.INFEASIBLE, Outcome.LOST, None, None]
    for number, outcome in enumerate(outcomes):
        history.asked(Trial(number, Candidate({})), 0.0)
        if number < 5:
            history.issued(number, 1, 0.0)
        if outcome is not None:
            history.told(Result(number, 1, outcome), 1.0)
    found = counts(history.searched())
    assert found == {"asked": 6, "running": 1, "waiting": 2, "completed": 1, "failed": 1, "infeasible": 1}
    assert [trial(record)["state"] for record in history.trials.values()] == [
        "completed",
        "failed",
        "infeasible",
        "waiting",
        "running",
        "waiting",
    ]


def test_the_retraining_and_the_test_stand_apart() -> None:
    history = History()
    for number, arm in enumerate(["strategy", "baseline", "final", "test"]):
        history.asked(Trial(number, Candidate({}), note={} if arm == "strategy" else {"arm": arm}), 0.0)
        history.issued(number, 1, 0.0)
        history.told(Result(number, 1, Outcome.COMPLETED, {"loss": 4.0 - number}), 1.0)
    found = standing(HEADER, history)
    assert found["trials"]["asked"] == 2
    assert [one["trial"] for one in found["best"]] == [1]
    assert [one["trial"] for one in found["baseline"]] == [1]
    assert [one["arm"] for one in found["final"]] == ["final", "test"]


def test_the_smallest_comes_first_where_that_is_the_objective() -> None:
    records = [{"metrics": {"loss": value}} for value in (2.0, float("nan"), 1.0)] + [{"metrics": {}}]
    goals = objectives(JOB)
    assert goals == (Objective("loss", Direction.MINIMIZE),)
    assert [record["metrics"].get("loss") for record in sorted_by(records, "loss", goals)][:2] == [1.0, 2.0]
    assert [record["metrics"].get("loss") for record in sorted_by(records, "loss", ())][:2] == [2.0, 1.0]
    assert len(sorted_by(records, "loss", goals)) == 4
    with pytest.raises(UserError, match="did you mean loss"):
        sorted_by(records, "los", goals)
