"""A search from its job to its tested winner, and every way to leave it before that."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stand_ins import FOLDER, Instant

import nas
from nas.driver import Ending, drive, extend, resume, start
from nas.history import Entry, History
from nas.home import open_log
from nas.job import Job
from nas.log import Log
from nas.recorded import current_job, current_plan
from nas.standing import Standing
from nas.stopping import BEFORE
from workers.artifacts import Artifacts
from workers.errors import UserError
from workers.objectives import Outcome
from workers.pool import Pool
from workers.trial import Json

JOB: dict[str, Json] = {
    "name": "try",
    "task": "stand_ins:SumTask",
    "space": "stand_ins:GridSpace",
    "strategy": "stand_ins:Uniform",
    "pool": "stand_ins:Instant",
    "budget": {"trials": 10},
    "final": {"top": 2, "seeds": 2, "epochs": 3},
    "folder": FOLDER,
}
DIGITS: dict[str, Json] = {
    "task": {
        "name": "image_classification",
        "dataset": "digits",
        "epochs": 2,
        "train_examples": 300,
        "batch_size": 32,
    },
    "space": {"name": "pnas", "blocks": 2, "cells": 1, "filters": 4},
    "strategy": "random",
    "budget": {"trials": 3},
    "final": {"top": 1, "seeds": 2, "epochs": 3},
    "seed": 3,
}


@pytest.fixture
def log() -> Iterator[Log]:
    opened = open_log()
    yield opened
    opened.close()


class At:
    """Does something in the turn in which so many trials are over."""

    def __init__(self, over: int, action: Callable[[], Any]) -> None:
        self.over, self.action = over, action

    def turn(self, history: History, pool: Pool) -> None:
        if history.outcomes.total() == self.over:
            self.action()


def arms(history: History) -> dict[str, int]:
    return {arm: len(records) for arm, records in history.arms().items()}


def history_of(log: Log, search: str) -> History:
    return History.of(log.entries(search))


def test_a_search_runs_to_its_tested_winner() -> None:
    with nas.run(JOB) as search:
        assert (search.id, search.state) == ("try", "finished")
        assert search.header.reason == "the budget of 10 trials is spent"
        assert arms(search.history) == {"strategy": 8, "baseline": 2, "final": 4, "test": 1}
        assert all(record.completed and record.attempts == 1 for record in search.trials())
        best, winner = search.best()[0], search.winner()
        assert winner.trial.candidate == best.trial.candidate
        assert winner.trial.epochs == 3
        assert search.test()["value"] == sum(map(int, winner.trial.candidate.values())) + winner.trial.seed / 100
    assert Instant.latest.closed


def test_a_seed_is_a_seed() -> None:
    runs = []
    for _ in range(2):
        with nas.run({**JOB, "seed": 11}) as search:
            runs.append([record.trial.json() for record in search.trials()])
    assert runs[0] == runs[1]
    with nas.run({**JOB, "seed": 12}) as search:
        assert [record.trial.json() for record in search.trials()] != runs[0]


def test_searches_with_one_name_get_numbers(log: Log) -> None:
    job = Job.parse(JOB)
    assert [start(job, log) for _ in range(3)] == ["try", "try-2", "try-3"]


def test_the_journal_keeps_the_directions_of_the_objectives(log: Log) -> None:
    search = start(Job.parse({**JOB, "objectives": ["value", "parameters"]}), log)
    assert log.header(search).job["objectives"] == [
        {"metric": "value", "direction": "maximize"},
        {"metric": "parameters", "direction": "minimize"},
    ]


def test_files_lie_beside_the_journal_wherever_that_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_log("here")) as log:
        search = start({**JOB, "journal": "here"}, log)
        told = start({**JOB, "artifacts": "there"}, log)
        assert current_plan(log, search).artifacts == str(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    with closing(open_log(str(tmp_path / "moved"))) as log:
        assert current_plan(log, search).artifacts == str(tmp_path / "moved")
        assert current_plan(log, told).artifacts == str(tmp_path / "there")


def test_data_are_found_from_any_folder(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels, labels = np.zeros((40, 8, 8, 1), np.uint8), np.arange(40) % 2
    np.savez("mine.npz", x_train=pixels, y_train=labels)
    named = [{"dataset": "mine.npz"}, {"dataset": "npz", "root": "mine.npz"}]
    found = [start({**DIGITS, "task": {**DIGITS["task"], **options}}, log) for options in named]
    monkeypatch.chdir("/")
    for search in found:
        assert len(current_plan(log, search).task.images.train) > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_search_that_goes_on_where_it_was(number: signal.Signals, log: Log) -> None:
    before = signal.getsignal(number)
    search = start(Job.parse(JOB), log)
    ending = drive(search, log, At(4, lambda: signal.raise_signal(number)))
    assert ending.state == "interrupted"
    assert history_of(log, search).waiting() == [], "what ran was finished"
    assert Instant.latest.closed
    assert signal.getsignal(number) is before
    assert drive(search, log).state == "finished"
    unbroken = start(Job.parse(JOB), log)
    drive(unbroken, log)
    broken, whole = history_of(log, search), history_of(log, unbroken)
    assert [r.trial for r in broken.trials.values()] == [r.trial for r in whole.trials.values()]


def test_two_signals_leave_at_once_and_what_ran_runs_again(log: Log) -> None:
    search = start(Job.parse(JOB), log)

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    assert drive(search, log, At(4, twice)) == Ending(search, "interrupted", "Ctrl-C twice")
    waiting = history_of(log, search).waiting()
    assert len(waiting) == 1, "of two slots, one had just ended"
    assert drive(search, log).state == "finished"
    history = history_of(log, search)
    assert {trial: record.attempts for trial, record in history.trials.items() if record.attempts > 1} == {
        waiting[0]: 2
    }
    assert all(record.completed for record in history.trials.values())


def test_a_stop_by_request_is_resumed_with_a_larger_budget(log: Log) -> None:
    search = start(Job.parse(JOB), log)
    ending = drive(search, log, At(2, lambda: log.request(search, "stop", {"now": True})))
    assert ending.state in ("stopped", "finished"), "requests are looked for twice a second"
    log.request(search, "stop", {})
    assert resume(search, log, {"budget": {"trials": 12}, "final": {"top": 1}}).state in ("stopped", "finished")
    assert drive(search, log).state == "finished"
    history = history_of(log, search)
    assert sum(r.arm in ("strategy", "baseline") for r in history.trials.values()) == 12
    assert current_job(log, search).budget.trials == 12


def test_a_finished_search_goes_on_with_a_larger_budget(log: Log) -> None:
    search = start(Job.parse(JOB), log)
    drive(search, log)
    before = history_of(log, search)
    assert drive(search, log).state == "finished"
    assert len(history_of(log, search).trials) == len(before.trials), "there was nothing left to do"
    assert resume(search, log, {"budget": {"trials": 15}}).state == "finished"
    after = history_of(log, search)
    assert sum(r.arm in ("strategy", "baseline") for r in after.trials.values()) == 15
    assert [r.result for r in after.trials.values()][: len(before.trials)] == [r.result for r in before.trials.values()]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"seed": 4}, "seed cannot change"), ({"budget": {"trials": 0}}, "at least 1"), ({"pool": "locale"}, "'local'")],
)
def test_a_wrong_change_is_refused_before_it_is_written(overrides: dict[str, Json], message: str, log: Log) -> None:
    search = start(Job.parse(JOB), log)
    with pytest.raises(UserError, match=message):
        extend(search, log, overrides)
    assert not list(log.entries(search, kinds=("request",)))


def test_an_enqueued_candidate_is_tried_and_named_so(log: Log) -> None:
    search = start(Job.parse(JOB), log)
    log.request(search, "enqueue", {"candidate": {"a": 5, "b": 0}})
    drive(search, log)
    first = history_of(log, search).trials[0]
    assert (first.arm, first.trial.candidate.json()) == ("enqueued", {"a": 5, "b": 0})


@pytest.mark.parametrize("over", [2, 3, 4, 99])
def test_an_indigestible_result_holds_up_neither_the_search_nor_its_resume(over: int, log: Log) -> None:
    search = start(Job.parse({**JOB, "strategy": "stand_ins:Choosy", "baseline": 0, "budget": {"trials": 5}}), log)
    drive(search, log, At(over, lambda: signal.raise_signal(signal.SIGINT)))
    assert drive(search, log).state == "finished"
    history = history_of(log, search)
    assert [note.trial for note in history.notes] == [2]
    assert arms(history) == {"strategy": 5, "final": 4, "test": 1}


def test_python_can_steer_a_search_as_the_command_line_does(log: Log) -> None:
    search = start(Job.parse(JOB), log)
    with nas.Search(search) as handle:
        with pytest.raises(nas.NotFoundError, match="no trial of try has completed"):
            handle.winner()
        with pytest.raises(ValueError, match="a is 77"):
            handle.enqueue({"a": 77, "b": 0})
        handle.enqueue({"a": 5, "b": 0})
        handle.stop()
        assert drive(search, log, after=0) == Ending(search, "stopped", BEFORE)
        assert (handle.state, handle.trials(), handle.test()) == ("stopped", [], {})
        with nas.resume(search, {"budget": {"trials": 1}}) as resumed:
            assert resumed.state == "finished"
        assert [record.trial.candidate.json() for record in handle.best()] == [{"a": 5, "b": 0}]
    with pytest.raises(nas.NotFoundError):
        nas.Search("tyr")


def test_a_second_driver_is_refused_while_the_first_one_lives(log: Log) -> None:
    search = start(Job.parse(JOB), log)
    refused: list[str] = []

    def again() -> None:
        with pytest.raises(UserError) as caught:
            drive(search, log)
        refused.append(str(caught.value))

    assert drive(search, log, At(3, again)).state == "finished"
    assert refused
    assert all("is being run by process" in message for message in refused)


def test_a_driver_that_lost_its_search_says_so_and_leaves_no_worker(log: Log) -> None:
    search = start(Job.parse(JOB), log)
    pools: list[Instant] = []

    def seize() -> None:
        pools.append(Instant.latest)
        log.acquire(search, force=True)

    with pytest.raises(UserError, match="another driver has taken try over"):
        drive(search, log, At(3, seize))
    assert pools[0].closed


def test_an_error_in_the_driver_leaves_no_worker_and_a_search_that_can_go_on(log: Log) -> None:
    search = start(Job.parse(JOB), log)

    def fail() -> None:
        raise ZeroDivisionError("as it happens")

    with pytest.raises(ZeroDivisionError):
        drive(search, log, At(3, fail))
    assert Instant.latest.closed
    header = log.header(search)
    assert (header.state, header.reason) == ("failed", "ZeroDivisionError: as it happens")
    assert drive(search, log).state == "finished"


def test_a_search_in_which_nothing_completes_has_failed(log: Log) -> None:
    job = {**JOB, "task": {"name": "stand_ins:SumTask", "fail": [0, 1, 2]}, "budget": {"trials": 3}}
    search = start(Job.parse(job), log)
    ending = drive(search, log)
    assert ending.state == "failed"
    assert "none of 3 trials completed" in ending.reason
    assert "this one fails" in ending.reason


def test_a_search_in_which_nothing_may_be_tried_has_failed(log: Log) -> None:
    small = {"name": "pnas", "blocks": 1, "cells": 1, "filters": 4, "operations": ["identity"]}
    job = {**DIGITS, "space": small, "constraints": {"parameters": {"max": 1}}}
    ending = drive(start(Job.parse(job), log), log)
    assert ending.state == "failed"
    assert "nothing was tried" in ending.reason
    assert "parameters at most 1" in ending.reason


def test_missing_data_are_one_error_before_there_is_a_search(tmp_path: Path, log: Log) -> None:
    task = {"name": "image_classification", "dataset": str(tmp_path / "none")}
    with pytest.raises(UserError, match="none"):
        start(Job.parse({**DIGITS, "task": task}), log)
    assert log.searches() == []


def test_a_place_that_takes_no_artifacts_is_one_error_before_there_is_a_search(tmp_path: Path, log: Log) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"artifacts cannot be stored in .*file"):
        start(Job.parse({**DIGITS, "artifacts": str(tmp_path / "file")}), log)
    assert log.searches() == []


def test_data_that_vanished_are_one_error_when_a_search_goes_on(tmp_path: Path, log: Log) -> None:
    folder = tmp_path / "images"
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (8, 8), (number * 10, 0, 0)).save(folder / label / f"{number}.png")
    task = {"name": "image_classification", "dataset": str(folder), "image_size": 8}
    search = start(Job.parse({**DIGITS, "task": task}), log)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="images"):
        drive(search, log)
    assert not history_of(log, search).trials


def test_wall_time_is_what_drivers_worked_not_what_lies_between() -> None:
    kinds = [("driver", 10), ("ask", 11), ("tell", 15), ("state", 16), ("request", 90), ("driver", 100), ("tell", 103)]
    kinds += [("request", 400), ("request", 450)]  # the second driver was killed after 3 s; then a user asks for more
    kinds += [("driver", 500), ("tell", 501), ("state", 502), ("request", 600), ("request", 900), ("driver", 1000)]
    found = History()
    for number, (kind, time) in enumerate(kinds):
        found.at(Entry(number, float(time), kind, None, {}))
    assert found.worked == 6 + 3 + 2


def test_time_that_earlier_drivers_took_counts(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    search = start(Job.parse({**JOB, "budget": {"seconds": 1000}}), log)
    standing = Standing(())
    standing.history.worked = 1000.0
    monkeypatch.setattr("nas.driver.current", lambda log, header: standing)
    ending = drive(search, log)
    assert (ending.state, ending.reason) == ("failed", "nothing was tried: the budget of 1000 seconds is spent")


@pytest.mark.parametrize(
    "pool", [{"name": "local", "slots": 2}, pytest.param({"name": "ray", "slots": 2}, marks=pytest.mark.slow)]
)
def test_a_real_search_retrains_and_tests_its_winner(pool: Json, tmp_path: Path) -> None:
    with nas.run({**DIGITS, "pool": pool}) as search:
        assert search.state == "finished"
        assert arms(search.history) == {"strategy": 3, "final": 2, "test": 1}
        errors = [record.result.error for record in search.trials() if record.result and record.result.error]
        assert not errors
        winner, test = search.winner(), search.test()
        assert winner.result is not None
        finals = [r.result.metrics["accuracy"] for r in search.trials() if r.arm == "final" and r.result]
        assert winner.result.metrics["accuracy"] == max(finals)
        assert test["test_accuracy"] == test["test_correct"] / test["test_total"]
        assert winner.result.outcome is Outcome.COMPLETED


TUNING = """\
def train(decisions, epochs):
    import own_measure  # beside the job, and only imported here
    for epoch in range(epochs):
        yield own_measure.score(decisions["x"], epoch)
"""


def test_at_the_end_nothing_is_stored_that_nobody_needs(log: Log) -> None:
    job = Job.parse({**DIGITS, "name": "try", "pool": "stand_ins:Instant", "artifacts": {"quota": 1}, "folder": FOLDER})
    search = start(job, log)
    assert drive(search, log).state == "finished"
    stored = Artifacts.open(current_plan(log, search).artifacts).list(search)
    history = history_of(log, search)
    assert {history.trials[one.trial].arm for one in stored} == {"final", "test"}
    deleted = {trial for (trial, _, _), body in history.artifacts.items() if body.get("deleted")}
    assert deleted == {record.trial.id for record in history.searched()}


def test_a_users_own_function_is_tuned_by_worker_processes(tmp_path: Path) -> None:
    (tmp_path / "own_tuning_one.py").write_text(TUNING)
    (tmp_path / "own_measure.py").write_text(
        "def score(x, epoch):\n    return {'error': (x - 0.5) ** 2 + 1 / (1 + epoch)}\n"
    )
    (tmp_path / "tune.yaml").write_text(
        """\
task: {name: "own_tuning_one:train", decisions: {x: {range: [0.0, 1.0]}}, epochs: 2, metric: error, direction: minimize}
budget: {trials: 4}
pool: {name: local, slots: 1}
final: {top: 1, seeds: 1}
"""
    )
    with nas.run(tmp_path / "tune.yaml") as search:
        assert (search.id, search.state) == ("tune", "finished")
        assert arms(search.history) == {"strategy": 4, "final": 1}
        best = search.best()[0]
        assert best.result is not None
        assert best.result.metrics["error"] == (float(best.trial.candidate["x"]) - 0.5) ** 2 + 0.5
        assert best.result.metrics["error"] == min(r.result.metrics["error"] for r in search.trials() if r.result)
    assert str(tmp_path) not in sys.path


def test_importing_nas_imports_nothing_heavy() -> None:
    code = "import nas, sys; print(*sorted({'torch', 'ray', 'pydantic', 'pandas', 'numpy', 'yaml'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_public_name_that_does_not_exist_lists_those_that_do() -> None:
    assert set(nas.__all__) <= set(dir(nas))
    assert all(hasattr(nas, name) for name in nas.__all__)
    with pytest.raises(AttributeError, match="there are NotFoundError, Search"):
        _ = nas.Searhc
