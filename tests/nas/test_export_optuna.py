"""A search as a study: read by Optuna's own functions, and served by a running optuna-dashboard."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from typer.testing import CliRunner, Result

from nas.cli.app import application
from nas.driver import start
from nas.history import Entry
from nas.home import open_log
from nas.logs.sqlite import SqliteLog
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Result as TrialResult
from workers.trial import Trial

BEGAN = 1_790_000_000.0
DECISIONS = {
    "optimizer": {"choice": ["adam", "sgd"]},
    "momentum": {"range": [0.5, 0.99], "when": {"optimizer": "sgd"}},
    "rate": {"range": [1e-4, 1.0], "log": True},
    "width": {"choice": [16, 32, 64]},
    "layers": {"range": [1, 4], "integer": True},
}
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture(autouse=True)
def _tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned.py").write_text("def train(decisions):\n    return 0.0\n")


def candidate(number: int) -> Candidate:
    values: dict[str, Any] = {"optimizer": "sgd" if number % 2 else "adam"}
    if number % 2:
        values["momentum"] = 0.5 + number % 40 / 100
    return Candidate(
        {**values, "rate": 10.0 ** -(number % 4), "width": (16, 32, 64)[number % 3], "layers": 1 + number % 4}
    )


def result(number: int) -> TrialResult | None:
    """Of ten trials the last runs, one failed, one was infeasible with and one without its value."""
    match number % 10:
        case 9:
            return None
        case 6:
            return TrialResult(number, 1, Outcome.FAILED, {"loss": 0.5}, 1, 2.0, error="DivergedError: loss is nan")
        case 7:
            return TrialResult(number, 1, Outcome.INFEASIBLE, {"loss": 0.25, "parameters": 1e9}, 4, 2.0)
        case 8:
            return TrialResult(number, 1, Outcome.INFEASIBLE, {}, 0, 2.0, error="out of memory")
    return TrialResult(number, 1, Outcome.COMPLETED, {"loss": 1 / (1 + number), "parameters": 7.0}, 4, 2.5)


def search(trials: int) -> str:
    """The id of a search of so many trials, none of which ran; every fifth is a rung of a quarter of the epochs."""
    job = {
        "name": "tune",
        "task": {"name": "tuned:train", "decisions": DECISIONS},
        "objectives": [{"metric": "loss", "direction": "minimize"}],
        "budget": {"trials": trials},
    }
    log = open_log()
    found = start(job, log)
    epoch = log.acquire(found)
    entries: list[Entry] = []
    for number in range(trials):
        now = BEGAN + 3 * number
        rung = number % 5 == 1
        trial = Trial(number, candidate(number), 1 if rung else 4, 4, note={"arm": "baseline"} if rung else {})
        entries += [Entry(0, now, "ask", number, trial.json()), Entry(0, now + 0.5, "attempt", number, {"number": 1})]
        entries += [
            Entry(0, now + step, "progress", number, {"attempt": 1, "epoch": step, "metrics": {"loss": 2.0 / step}})
            for step in range(1, trial.epochs + 1)
        ]
        if (told := result(number)) is not None:
            entries.append(Entry(0, now + 2.5, "tell", number, told.json()))
    look = Trial(trials, candidate(0), 0, 4)
    entries.append(Entry(0, BEGAN, "ask", trials, look.json()))
    test = Trial(trials + 1, candidate(0), 0, 4, parent=0, note={"arm": "test"}, split="test")
    entries.append(Entry(0, BEGAN, "ask", trials + 1, test.json()))
    log.append(found, epoch, entries)
    log.close()
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application(), list(arguments))


def study(path: Path) -> optuna.Study:
    return optuna.load_study(study_name="tune", storage=JournalStorage(JournalFileBackend(str(path))))


def test_optuna_reads_every_trial_as_it_was(tmp_path: Path) -> None:
    search(10)
    written = run("export", "tune", "--format", "optuna")
    assert (written.exit_code, written.stdout) == (0, "tune.optuna.log\n"), written.stderr
    found = study(tmp_path / "tune.optuna.log")
    assert [direction.name for direction in found.directions] == ["MINIMIZE"]
    assert found.metric_names == ["loss"]
    assert (found.user_attrs["state"], found.user_attrs["seed"]) == ("running", 0)
    trials = found.get_trials()
    complete, pruned, failed = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    states = [complete, pruned, complete, complete, complete, complete, failed, complete, failed, TrialState.RUNNING]
    assert [trial.state for trial in trials] == states
    for number, trial in enumerate(trials):
        assert trial.params == dict(candidate(number))
        assert ("momentum" in trial.distributions) == bool(number % 2)
        assert trial.datetime_start is not None
        assert trial.datetime_start.timestamp() == BEGAN + 3 * number + 0.5
        assert trial.user_attrs["trial"] == number
    first = trials[0]
    assert first.distributions["optimizer"] == CategoricalDistribution(("adam", "sgd"))
    assert first.distributions["width"] == CategoricalDistribution((16, 32, 64))
    assert first.distributions["rate"] == FloatDistribution(1e-4, 1.0, log=True)
    assert first.distributions["layers"] == IntDistribution(1, 4)
    assert first.value == 1.0
    assert first.duration is not None
    assert first.duration.total_seconds() == 2.0
    assert first.intermediate_values == {step: 2.0 / step for step in (1, 2, 3, 4)}
    assert (first.user_attrs["parameters"], first.user_attrs["arm"], trials[1].user_attrs["arm"]) == (
        7.0,
        "strategy",
        "baseline",
    )
    assert trials[6].user_attrs["error"] == "DivergedError: loss is nan"


def test_what_ran_when_its_driver_died_waits(tmp_path: Path) -> None:
    log = open_log()
    assert isinstance(log, SqliteLog)
    with log._known(search(10)).transaction() as connection:
        connection.execute("UPDATE search SET heartbeat = 0")
    log.close()
    assert run("export", "tune", "--format", "optuna").exit_code == 0
    found = study(tmp_path / "tune.optuna.log")
    assert found.user_attrs["state"] == "abandoned"
    assert found.get_trials()[9].state == TrialState.WAITING


def test_what_was_infeasible_is_not_the_best(tmp_path: Path) -> None:
    search(10)
    assert run("export", "tune", "--format", "optuna").exit_code == 0
    found = study(tmp_path / "tune.optuna.log")
    trials = found.get_trials()
    assert trials[7].value == 0.25
    assert [trial.number for trial in trials if any(value > 0 for value in trial.constraints.values())] == [7, 8]
    feasible = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.number != 7]
    assert found.best_trial.number == min(feasible, key=lambda trial: trial.value or 0.0).number


def test_one_study_can_be_gone_on_with(tmp_path: Path) -> None:
    search(10)
    assert run("export", "tune", "--format", "optuna", "--output", "s/one.log").exit_code == 0
    found = study(tmp_path / "s" / "one.log")
    found.sampler = optuna.samplers.TPESampler(seed=1, n_startup_trials=1)
    asked = found.ask({"rate": FloatDistribution(1e-4, 1.0, log=True)})
    found.tell(asked, 0.01)
    assert study(tmp_path / "s" / "one.log").best_value == 0.01


def test_only_a_study_is_replaced(tmp_path: Path) -> None:
    search(10)
    arguments = ("export", "tune", "--format", "optuna", "--output", "mine.txt")
    (tmp_path / "mine.txt").write_text("a diary\n")
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "name another file" in refused.stderr
    assert (tmp_path / "mine.txt").read_text() == "a diary\n"
    (tmp_path / "mine.txt").unlink()
    assert (run(*arguments).exit_code, run(*arguments).exit_code) == (0, 0)
    assert len(study(tmp_path / "mine.txt").trials) == 10
    assert [file.name for file in tmp_path.glob(".mine*")] == []


@pytest.mark.parametrize("further", [("--trial", "1"), ("--format", "onnx")])
def test_a_study_is_of_a_whole_search(further: tuple[str, ...]) -> None:
    search(10)
    refused = run("export", "tune", "--format", "optuna", *further)
    assert refused.exit_code == 2
    assert "give --format optuna alone" in refused.stderr


@contextmanager
def dashboard(path: Path) -> Iterator[Callable[[str], Any]]:
    """A running optuna-dashboard of a study: what it answers at a path of its HTTP interface."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = "from optuna_dashboard._cli import main; main()"
    command = [sys.executable, "-c", program, str(path), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--server", "wsgiref"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )

    def ask(where: str) -> Any:
        with urlopen(f"http://127.0.0.1:{port}{where}", timeout=60) as answer:
            return json.load(answer)

    try:
        until = time.monotonic() + 120
        while True:
            try:
                ask("/api/meta")
                break
            except OSError:
                assert time.monotonic() < until, "optuna-dashboard does not answer"
                with suppress(subprocess.TimeoutExpired):
                    raise AssertionError(f"optuna-dashboard ended with {process.wait(0.2)}") from None
        yield ask
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("trials", [10, 2000])
def test_a_running_dashboard_shows_the_study(tmp_path: Path, trials: int) -> None:
    search(trials)
    assert run("export", "tune", "--format", "optuna").exit_code == 0
    with dashboard(tmp_path / "tune.optuna.log") as ask:
        (summary,) = ask("/api/studies")["study_summaries"]
        assert (summary["study_name"], summary["directions"]) == ("tune", ["minimize"])
        found = ask(f"/api/studies/{summary['study_id']}")
    assert len(found["trials"]) == trials
    assert found["objective_names"] == ["loss"]
    states = [trial["state"] for trial in found["trials"][:10]]
    assert states == [*["Complete", "Pruned"], *["Complete"] * 4, "Fail", "Complete", "Fail", "Running"]
    assert [trial["constraints"] for trial in found["trials"][6:9]] == [[-1.0], [1.0], [1.0]]
    first = found["trials"][0]
    assert {one["name"]: one["param_external_value"] for one in first["params"]} == {
        name: str(value) for name, value in candidate(0).items()
    }
    assert [one["value"] for one in first["intermediate_values"]] == [2.0, 1.0, 2 / 3, 0.5]
    spaces = {one["name"]: one["distribution"]["type"] for one in found["union_search_space"]}
    assert spaces["optimizer"] == spaces["width"] == "CategoricalDistribution"
    assert set(spaces) == set(DECISIONS)
