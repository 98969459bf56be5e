"""list, status, trials, best, compare: what they print, and what they tell a program."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nas.cli.app import application
from nas.history import Entry
from nas.home import open_log
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Result as TrialResult
from workers.trial import Trial

Run = Callable[..., Result]
START = 1_700_000_000.0
JOB = {
    "name": "digits",
    "task": "image_classification",
    "space": {"name": "pnas", "blocks": 3},
    "strategy": "pnas",
    "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    "budget": {"trials": 20, "seconds": None},
    "seed": 7,
}
SEVERAL = [*JOB["objectives"], {"metric": "parameters", "direction": "minimize"}]  # type: ignore[misc]


@pytest.fixture
def run() -> Run:
    """Run the command line in this process."""

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(application(), list(arguments), env={"COLUMNS": "100"})

    return call


def entries(trial: Trial, result: TrialResult | None, at: float) -> list[Entry]:
    """A trial's life: asked and issued at `at`, told two seconds later."""
    told = [] if result is None else [Entry(0, at + 2, "tell", trial.id, result.json())]
    asked = Entry(0, at, "ask", trial.id, trial.json())
    return [asked, Entry(0, at, "attempt", trial.id, {"number": 1, "parent": None}), *told]


def record(search: str, changes: dict[str, Any] | None = None, state: str | None = "finished") -> None:
    """A search of five trials: two completed, one of the baseline, one failed, one running; left `state`."""
    log = open_log()
    log.create(search, {**JOB, **(changes or {})}, {"cellwright": "0"})
    epoch = log.acquire(search)
    history = [
        (Trial(0, Candidate({"block_1": "max", "width": 8})), {"accuracy": 0.5, "parameters": 100.0}, None),
        (Trial(1, Candidate({"block_1": "sep", "width": 16})), {"accuracy": 0.75, "parameters": 900.0}, None),
        (
            Trial(2, Candidate({"block_1": "max"}), note={"arm": "baseline"}),
            {"accuracy": 0.625, "parameters": 1e6},
            None,
        ),
        (Trial(3, Candidate({"block_1": "sep"})), {}, "the loss is not a number"),
    ]
    for trial, metrics, error in history:
        outcome = Outcome.FAILED if error else Outcome.COMPLETED
        result = TrialResult(trial.id, 1, outcome, metrics, epochs=1, seconds=1.5, error=error)
        log.append(search, epoch, entries(trial, result, START + trial.id))
    log.append(search, epoch, entries(Trial(4, Candidate({"block_1": "sep"}), epochs=8, horizon=8), None, START + 4))
    log.append(search, epoch, [Entry(0, START + 6, "progress", 4, {"epoch": 3, "metrics": {"accuracy": 0.25}})])
    if state is not None:
        log.release(search, epoch, state, "the budget of 20 trials is spent")
    log.close()


def test_list_knows_every_search(run: Run) -> None:
    assert run("list").exit_code == 0
    assert "nas run" in run("list").stderr
    record("digits-a")
    record("digits-b", {"strategy": {"name": "random"}}, "interrupted")
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["search", "state", "task", "space", "strategy", "created"]
    assert lines[1].split()[:5] == ["digits-b", "interrupted", "image_classification", "pnas", "random"]
    assert lines[2].split()[:5] == ["digits-a", "finished", "image_classification", "pnas", "pnas"]
    assert [one["search"] for one in json.loads(run("list", "--json").stdout)] == ["digits-b", "digits-a"]


def normalised(text: str) -> str:
    """`text` without what differs from run to run: times, process numbers, the machine's name."""
    text = re.sub(r"process \d+ on \S+", "process N on HOST", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d, .*", "DAY TIME, DURATION", text)


STATUS = """\
search    digits-a
state     finished (the budget of 20 trials is spent)
job       task image_classification, space pnas, strategy pnas, seed 7
started   DAY TIME, DURATION
trials    5 of 20: 1 waiting, 3 completed, 1 failed
best      trial 1  accuracy=0.75 parameters=900
baseline  trial 2 (baseline)  accuracy=0.625 parameters=1000000
next      nas export digits-a
"""


def test_status_reads_well(run: Run) -> None:
    record("digits-a")
    assert normalised(run("status", "digits-a").stdout) == STATUS


@pytest.mark.parametrize("given", ["digits-a", "digits", "d", "last"])
def test_a_search_is_known_by_its_id_a_beginning_or_as_the_last(run: Run, given: str) -> None:
    record("digits-a")
    assert json.loads(run("status", given, "--json").stdout)["search"] == "digits-a"


def test_last_is_the_newest_and_what_is_meant_when_nothing_is_said(run: Run) -> None:
    record("z-first")
    record("a-second")
    assert json.loads(run("status", "--json").stdout)["search"] == "a-second"
    assert json.loads(run("status", "last", "--json").stdout)["search"] == "a-second"


def test_the_beginning_of_two_searches_names_neither(run: Run) -> None:
    record("digits-a")
    record("digits-b")
    found = run("status", "digits")
    assert found.exit_code == 2
    assert "digits-a, digits-b" in found.stderr


def test_an_id_that_begins_another_is_itself(run: Run) -> None:
    record("digits")
    record("digits-2")
    assert json.loads(run("status", "digits", "--json").stdout)["search"] == "digits"


def test_a_search_whose_driver_died_is_abandoned(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    record("digits-a", state=None)
    assert json.loads(run("status", "--json").stdout)["state"] == "running"
    monkeypatch.setattr("nas.process.Process.gone", lambda _: True)
    found = json.loads(run("status", "--json").stdout)
    assert found["state"] == "abandoned"
    assert found["trials"]["running"] == 0
    assert "nas resume digits-a" in run("status").stdout


def test_trials_in_the_order_they_were_asked(run: Run) -> None:
    record("digits-a", state=None)
    lines = run("trials").stdout.splitlines()
    assert lines[0].split() == ["trial", "arm", "state", "accuracy", "parameters", "epochs", "time", "error"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2", "3", "4"]
    assert lines[4].split()[-6:] == ["the", "loss", "is", "not", "a", "number"]
    assert lines[5].split()[:5] == ["4", "strategy", "running", "0.25", "-"]


@pytest.mark.parametrize(
    ("arguments", "trials"),
    [
        (["--state", "completed"], [0, 1, 2]),
        (["--state", "failed"], [3]),
        (["--state", "running"], [4]),
        (["--sort", "accuracy"], [1, 2, 0, 4, 3]),
        (["--sort", "accuracy", "--top", "2"], [1, 2]),
        (["--sort", "accuracy", "--state", "completed", "--top", "1"], [1]),
        (["--sort", "parameters", "--top", "1"], [2]),
    ],
)
def test_trials_chosen_and_sorted(run: Run, arguments: list[str], trials: list[int]) -> None:
    record("digits-a", state=None)
    assert [one["trial"] for one in json.loads(run("trials", *arguments, "--json").stdout)] == trials


def test_what_is_minimised_is_sorted_upwards(run: Run) -> None:
    record("digits-a", {"objectives": SEVERAL})
    found = json.loads(run("trials", "--sort", "parameters", "--state", "completed", "--json").stdout)
    assert [one["trial"] for one in found] == [0, 1, 2]


def test_best_by_one_objective(run: Run) -> None:
    record("digits-a")
    assert [one["trial"] for one in json.loads(run("best", "--json").stdout)] == [1]
    assert [one["trial"] for one in json.loads(run("best", "--top", "2", "--json").stdout)] == [1, 2]
    assert run("best").stdout.splitlines()[-2:] == ["block_1  sep", "width    16"]


def test_best_by_several_objectives_is_the_front(run: Run) -> None:
    record("digits-a", {"objectives": SEVERAL})
    found = run("best")
    assert [line.split()[0] for line in found.stdout.splitlines()[1:]] == ["1", "0"]
    assert "Pareto front of accuracy, parameters" in found.stderr


def test_nothing_is_best_where_nothing_completed(run: Run) -> None:
    with closing(open_log()) as log:
        log.create("digits-a", JOB, {})
    assert run("best").exit_code == 0
    assert json.loads(run("best", "--json").stdout) == []
    assert "no completed trial" in run("best").stderr


def test_compare_puts_searches_side_by_side(run: Run) -> None:
    record("digits-a")
    record("digits-b", {"objectives": SEVERAL, "strategy": "random"})
    lines = run("compare", "digits-a", "digits-b").stdout.splitlines()
    assert "0.75 (baseline 0.625)" in lines[1]
    assert "0.5 to 0.75" in lines[2]
    assert "100 to 900" in lines[2]
    assert [one["search"] for one in json.loads(run("compare", "digits-a", "digits-b", "--json").stdout)] == [
        "digits-a",
        "digits-b",
    ]


def test_json_knows_no_numbers_that_json_does_not(run: Run) -> None:
    with closing(open_log()) as log:
        log.create("digits-a", JOB, {})
        epoch = log.acquire("digits-a")
        result = TrialResult(0, 1, Outcome.COMPLETED, {"accuracy": float("nan"), "loss": float("inf")})
        log.append("digits-a", epoch, entries(Trial(0, Candidate({})), result, START))
    assert json.loads(run("trials", "--json").stdout)[0]["metrics"] == {"accuracy": None, "loss": None}
    assert run("trials", "--sort", "accuracy").exit_code == 0


def test_journals_may_be_elsewhere(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record("digits-a")
    home = str(tmp_path / "home")
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "empty"))
    assert run("status").exit_code == 3
    assert run("status", "--journal", home).exit_code == 0


def test_a_table_is_not_folded_where_no_terminal_is(run: Run) -> None:
    long = "x" * 300
    with closing(open_log()) as log:
        log.create("digits-a", JOB, {})
        epoch = log.acquire("digits-a")
        result = TrialResult(0, 1, Outcome.FAILED, {}, error=long)
        log.append("digits-a", epoch, entries(Trial(0, Candidate({})), result, START))
    assert run("trials").stdout.splitlines()[1].endswith(long)
