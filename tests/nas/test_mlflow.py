"""What MLflow has of a search: in a store of its own, and on a real server of this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from histories import Invented
from watched import watched

from nas.history import Entry, History
from nas.watchers.mlflow import Mlflow
from workers.errors import UserError

Require = Callable[[str, bool, str], None]

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # inside MLflow's own store
SECRET = "correct-horse"


def logged(uri: str, folder: Path, experiment: str = "cellwright") -> dict[str, Any]:
    """What MLflow's own client, in a process of its own, finds of the one run."""
    script = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[3])
runs = client.search_runs([experiment.experiment_id])
run = runs[-1]
course = [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "best.accuracy")]
path = client.download_artifacts(run.info.run_id, "artifacts.json", sys.argv[2])
print(json.dumps({
    "runs": len(runs), "name": run.info.run_name, "status": run.info.status, "params": run.data.params,
    "metrics": run.data.metrics, "tags": run.data.tags, "course": course, "artifacts": json.load(open(path)),
}))
"""
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    done = subprocess.run(
        [sys.executable, "-c", script, uri, str(folder), experiment],
        capture_output=True,
        text=True,
        check=True,
        env=quiet,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def searched() -> History:
    """A search with a file that is kept, one that is gone, and a result that is no number."""
    history = Invented(trials=30).history()
    kept = {"attempt": 1, "name": "checkpoint.safetensors", "bytes": 12, "digest": "abc"}
    history.feed(Entry(1, 1.79e9, "artifact", 30, kept))
    history.feed(Entry(1, 1.79e9, "artifact", 3, {**kept, "deleted": True}))
    return history


def check(found: dict[str, Any], history: History) -> None:
    (winner,) = history.best(watched(Path()).objectives[0])
    assert winner.result is not None
    assert (found["runs"], found["name"], found["status"]) == (1, "cells-7", "FINISHED")
    assert found["params"] == {name: str(value) for name, value in winner.trial.candidate.items()}
    assert found["metrics"]["accuracy"] == winner.result.metrics["accuracy"]
    assert found["metrics"]["test_accuracy"] == 0.9611
    assert found["metrics"]["seconds"] == history.worked
    tags = {name: value for name, value in found["tags"].items() if name.startswith("cellwright.")}
    assert tags["cellwright.search"] == "cells-7"
    assert (tags["cellwright.state"], tags["cellwright.seed"], tags["cellwright.completed"]) == ("stopped", "7", "28")
    assert tags["cellwright.version.cellwright"]
    steps = [step for step, _ in found["course"]]
    values = [value for _, value in found["course"]]
    assert steps == sorted(set(steps))
    assert values == sorted(set(values))
    assert values[-1] == winner.result.metrics["accuracy"]
    assert found["artifacts"]["artifacts"] == [
        {"trial": 30, "attempt": 1, "name": "checkpoint.safetensors", "bytes": 12, "digest": "abc"}
    ]
    assert SECRET not in json.dumps(found)


def log(uri: str, folder: Path, history: History, **options: Any) -> None:
    """Let a search end whose job has secrets in it."""
    task = {"name": "image_classification", "dataset": f"https://me:{SECRET}@example.org/digits"}
    journal = {"place": f"postgresql://me:{SECRET}@example.org/searches"}
    watcher = Mlflow(watched(folder, task=task, journal=journal), uri=uri, patience=120.0, **options)
    watcher.end(history, "stopped", "a user asked for it")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, require: Require) -> Iterator[tuple[str, Path]]:
    """A real tracking server, and the folder of its store; it needs more than mlflow-skinny brings."""
    missing = [name for name in ("flask", "fastapi", "uvicorn", "sqlalchemy") if find_spec(name) is None]
    require("mlflow", not missing, f"a tracking server needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--backend-store-uri", f"sqlite:///{folder}/store.db", "--artifacts-destination", str(folder / "files")]
    command = [sys.executable, "-m", "mlflow", "server", *place, "--host", "127.0.0.1", "--port", str(port)]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    said = folder / "server.log"
    with said.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--workers", "1"], cwd=folder, stdout=stream, stderr=stream, env=quiet, start_new_session=True
        )
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while not answers(f"{url}/health"):
            assert time.monotonic() < until, said.read_text()
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"the server ended with {process.wait(0.2)}: {said.read_text()}")
        yield url, folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.slow
def test_a_run_on_a_server_has_the_winner_and_no_secret(server: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = server
    history = searched()
    log(url, tmp_path, history)
    check(logged(url, tmp_path), history)


@pytest.mark.slow
def test_a_run_in_a_database_is_the_same(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = server  # whose store has its tables by now
    monkeypatch.chdir(tmp_path)  # where MLflow puts the artifacts of one that has no server
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    uri, history = f"sqlite:///{folder}/store.db", searched()
    log(uri, tmp_path, history, experiment="no-server")
    check(logged(uri, tmp_path, "no-server"), history)


def test_a_server_that_is_not_there_is_not_waited_for_long(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()  # and never answers
        watcher = Mlflow(watched(tmp_path), uri=f"http://127.0.0.1:{taken.getsockname()[1]}", patience=0.5)
        with pytest.raises(UserError, match=r"logging to MLflow took longer than 0\.5 s"):
            watcher.end(searched(), "finished", "")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        (f"postgresql://me:{SECRET}@example.org/mlflow", "holds a password"),
        (f"https://me:{SECRET}@example.org", "holds a password"),
        ("http://[::1", "is none"),
        ("", "MLFLOW_TRACKING_URI"),
    ],
)
def test_a_mistake_is_said_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, says: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=says) as raised:
        Mlflow(watched(tmp_path), uri=uri)
    assert SECRET not in str(raised.value)
