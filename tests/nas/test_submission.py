"""A search on a real cluster with a job server: submitted from another folder, steered, killed, resumed, exported."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from clusters import RayCluster, until
from conftest import Require

from nas.api import Search
from nas.home import open_log
from nas.log import Header
from workers.errors import UserError
from workers.invitation import Invitation

SPACE = Path(__file__).parents[1] / "workers" / "tiny_space.py"
FUNCTION = """\
import time
from pathlib import Path

def train(decisions):
    from beside import factor
    print("heard", decisions["x"], Path("note.txt").read_text())
    time.sleep(decisions.get("pause", 0))
    return factor * decisions["x"]
"""
TUNE = """\
name: tune
task: {name: "mine:train", decisions: {x: {range: [0.0, 1.0]}, pause: {choice: [PAUSE]}}}
strategy: random
budget: {trials: TRIALS}
final: {top: 0}
"""
SECRET = re.compile("hunter[0-9]secret")
NETWORK = """\
name: network
task: {name: image_classification, dataset: digits, epochs: 1}
space: "tiny_space:TinySpace"
strategy: random
budget: {trials: 2}
"""


@pytest.fixture(scope="module")
def cluster(require: Require) -> Iterator[RayCluster]:
    cluster = started()
    yield cluster
    cluster.stop()


def started(nodes: int = 1) -> RayCluster:
    """Two CPUs on one node or two; nodes have temporary folders of their own, as machines have."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cluster = RayCluster(cpus=2 / nodes, dashboard=True, environment={"PATH": path})
    for _ in range(nodes - 1):
        cluster.add_node(cpus=2 / nodes)
    return cluster


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a user's job and modules, which is not where the command is given."""
    made = tmp_path / "work"
    made.mkdir()
    (made / "mine.py").write_text(FUNCTION)
    (made / "beside.py").write_text("factor = 2\n")
    (made / "note.txt").write_text("a note")
    (made / "tiny_space.py").write_text(SPACE.read_text())
    (made / "network.yaml").write_text(NETWORK)
    return made


def tune(folder: Path, trials: int, pause: float = 0.0) -> Path:
    path = folder / "tune.yaml"
    path.write_text(TUNE.replace("TRIALS", str(trials)).replace("PAUSE", str(pause)))
    return path


def nas(cluster: RayCluster | None, *arguments: str, **further: str) -> subprocess.CompletedProcess[str]:
    """The command as a user gives it, in a folder where nothing lies."""
    where = Path(os.environ["NAS_HOME"]).with_name("elsewhere")
    where.mkdir(exist_ok=True)
    environment = os.environ | (cluster.whole_environment if cluster else {}) | further
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-P", "-m", "nas", *arguments]
    package = str(Path(__file__).parents[2])
    return subprocess.run(
        command, cwd=where, env={**environment, "PYTHONPATH": package}, capture_output=True, text=True, check=False
    )


def header(search: str, place: str | None = None) -> Header:
    with closing(open_log(place)) as log:
        return log.header(search)


def slots(search: str) -> int:
    with Search(search) as found:
        return found.history.slots[-1][1] if found.history.slots else 0


def completed(search: str) -> int:
    with Search(search) as found:
        return sum(record.completed for record in found.trials())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_network_is_searched_with_a_users_own_space_and_exported_without_cluster_and_folder(
    cluster: RayCluster, folder: Path, tmp_path: Path
) -> None:
    command = ("submit", str(folder / "network.yaml"), "--address", cluster.dashboard, "--follow")
    refused = nas(None, *command, HOME=str(tmp_path), RAY_AUTH_TOKEN="wrong" * 8)
    assert refused.returncode == 2
    assert "RAY_AUTH_TOKEN" in refused.stderr
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(Path(cluster.environment["RAY_AUTH_TOKEN_PATH"]).read_text())
    said = nas(None, *command, HOME=str(tmp_path))
    assert said.returncode == 0, said.stderr
    assert said.stdout == "network\n"
    assert "network finished" in said.stderr
    assert "2 of 2 trials: 2 completed" in said.stderr
    (folder / "tiny_space.py").unlink()
    exported = nas(None, "export", "network", "-o", str(tmp_path / "out"), NAS_CACHE=str(tmp_path / "cache"))
    assert exported.returncode == 0, exported.stderr
    assert "class TinyNet" in (tmp_path / "out" / "model.py").read_text()
    reported = nas(None, "report", "network", "-o", str(tmp_path / "r.html"), NAS_CACHE=str(tmp_path / "cache2"))
    assert reported.returncode == 0, reported.stderr
    assert "tiny_space" in (tmp_path / "r.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_driver_is_killed_and_resumed_stopped_and_resumed_on_another_cluster(
    cluster: RayCluster, folder: Path
) -> None:
    other, cluster = cluster, started(nodes=2)
    try:
        said = nas(cluster, "submit", str(tune(folder, 60, pause=0.3)), "--address", cluster.dashboard)
        assert said.returncode == 0, said.stderr
        assert said.stdout == "tune\n"
        assert "runs on the cluster as its job nas-tune" in said.stderr
        again = nas(cluster, "resume", "tune", "--address", cluster.dashboard)
        assert again.returncode == 2
        assert "is being run by process" in again.stderr
        until(lambda: slots("tune") == 2, "a worker on each node")
        until(lambda: completed("tune") >= 4, "four trials")
        os.kill(header("tune").driver_pid, signal.SIGKILL)
        until(lambda: not header("tune").driven(), "the driver is gone")
        here = nas(None, "resume", "tune")
        assert here.returncode == 2
        assert "--address http://HEAD:8265" in here.stderr
        said = nas(cluster, "resume", "tune", "--address", cluster.dashboard)
        assert said.returncode == 0, said.stderr
        before = completed("tune")
        until(lambda: completed("tune") > before, "one more trial")
        assert nas(None, "stop", "tune").returncode == 0
        until(lambda: header("tune").state == "stopped", "the stop")
        lines = nas(None, "logs", "tune", "--trial", "0").stdout.splitlines()
        assert lines[0] == "==> trial 0, attempt 1: output <=="
        assert lines[1].startswith("heard 0.")
        assert lines[1].endswith("a note")
    finally:
        cluster.stop()
    for path in folder.iterdir():
        path.unlink()
    options = ("--set", "budget.trials=30", "--address", other.dashboard, "--follow")
    said = nas(other, "resume", "tune", *options, NAS_CACHE=str(folder / "cache"))
    assert said.returncode == 0, said.stderr
    assert "tune finished" in said.stderr
    with Search("tune") as search:
        assert completed("tune") == len(search.trials()) >= 30
        assert [entry.body["epoch"] for entry in search.history.drivers] == [1, 2, 3]
    with closing(open_log()) as log:
        tells = [entry.trial for entry in log.entries("tune", kinds=("tell",)) if entry.body["outcome"] == "completed"]
    assert len(tells) == len(set(tells)), "every trial is told once"
    drivers = [line for line in nas(None, "logs", "tune", "--driver").stdout.splitlines() if line.startswith("==>")]
    assert len(drivers) == 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_driver_that_runs_other_code_or_sees_other_places_is_refused_with_the_reason(
    cluster: RayCluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas.api import submit
    from nas.remote import submission

    with cluster.entered(named=False):
        with monkeypatch.context() as patched:
            patched.setattr(submission, "release_of", lambda modules: "source 000000000000, python 2.7")
            with pytest.raises(UserError, match=r"the client has source 000000000000, .*install the same"):
                submit(tune(folder, 2), cluster.dashboard)
        assert (header("tune").state, header("tune").epoch) == ("failed", 1)
        assert "the client has source 000000000000" in header("tune").reason
        with monkeypatch.context() as patched:
            patched.setattr(Invitation, "greeting", property(lambda self: "elsewhere"))
            with pytest.raises(UserError, match=r"the driver on .* does not see what was written to"):
                submit(tune(folder, 2), cluster.dashboard)
        assert header("tune-2").state == "failed"
        (folder / "mine.py").write_text("import not_installed_there\n" + FUNCTION)
        (folder / "not_installed_there.py").write_text("")
        (folder / ".gitignore").write_text("not_installed_there.py\n")
        with pytest.raises(UserError, match="not_installed_there cannot be imported"):
            submit(tune(folder, 2), cluster.dashboard)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_on_servers_outlives_its_cluster_and_secrets_stand_in_the_file_for_their_owner_alone(
    cluster: RayCluster, folder: Path, tmp_path: Path, require: Require
) -> None:
    """The last test of this file: it ends the cluster."""
    import s3fs
    from postgres_server import BINARIES, MISSING, postgres_server
    from s3_server import credentials, s3_server

    require("postgres", bool(BINARIES), MISSING)
    space = folder / "tiny_space.py"
    space.write_text(space.read_text().replace("super().__init__()", "super().__init__(); print('built', filters)"))
    with postgres_server() as postgres, s3_server() as store:
        place = postgres.place().replace("cellwright@", "cellwright:hunter2secret@")
        keys = credentials(store, "hunter3secret")
        files = s3fs.S3FileSystem(skip_instance_cache=True, endpoint_url=store, key="id", secret="any")
        files.mkdir("runs")
        path = folder / "network.yaml"
        path.write_text(f"{NETWORK}journal: '{place}'\nartifacts: s3://runs/here\n")
        given = [word for name in keys for word in ("--env", name)]
        options = ("--address", cluster.dashboard, "--follow", *given, "--env", "SOME_TOKEN=hunter4secret")
        followed = nas(cluster, "submit", str(path), *options, **keys)
        assert followed.returncode == 0, followed.stderr
        jobs, left = nas_jobs(cluster), secretive(cluster.folder)
        cluster.stop()
        space.unlink()
        out = str(tmp_path / "out")
        logs, best, exported = (
            nas(None, *command, "--journal", place, NAS_CACHE=str(tmp_path / "cache"), **keys)
            for command in (("logs", "network"), ("best", "network", "--json"), ("export", "network", "-o", out))
        )
        with closing(open_log(place)) as log:
            entries = json.dumps(
                [dict(log.header("network").job), *(dict(entry.body) for entry in log.entries("network"))]
            )
        for key in files.find("runs"):
            (tmp_path / "bucket" / key).parent.mkdir(parents=True, exist_ok=True)
            files.get(key, str(tmp_path / "bucket" / key))
    assert "==> trial 0, attempt 1: output <==\nbuilt " in logs.stdout
    assert "network finished" in logs.stdout
    assert 0 < json.loads(best.stdout)[0]["metrics"]["accuracy"] <= 1
    assert exported.returncode == 0, exported.stderr
    assert "class TinyNet" in (tmp_path / "out" / "model.py").read_text()
    assert "nas-network" in jobs
    for said in (followed, logs, best, exported):
        assert not SECRET.search(said.stdout + said.stderr)
    for text in (entries, jobs):
        assert not SECRET.search(text)
    assert left
    assert all(path.name == "invitation.json" and not mode & 0o077 for path, mode in left.items()), left
    assert (tmp_path / "bucket" / "runs" / "here" / "network" / "job" / "files.zip").is_file()
    assert not secretive(tmp_path / "bucket")
    assert not secretive(tmp_path / "out")
    assert not secretive(tmp_path / "cache")


def secretive(folder: Path) -> dict[Path, int]:
    """The files below `folder` in which a secret stands, and their modes; of archives what is in them."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # Ray removes files
            if path.is_file() and any(map(SECRET.search, contents(path))):
                found[path] = path.stat().st_mode
    return found


def contents(path: Path) -> Iterator[str]:
    content = path.read_bytes()
    yield content.decode("latin-1")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name).decode("latin-1") for name in archive.namelist())


def nas_jobs(cluster: RayCluster) -> str:
    """All that Ray says of its jobs."""
    from nas.remote.job_server import JobServer

    with cluster.entered(named=False):
        client: Any = JobServer(cluster.dashboard)._client
        return "\n".join(f"{job!r}" for job in client.list_jobs())
