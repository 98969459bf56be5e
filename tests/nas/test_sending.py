"""A search on its way to a cluster: interrupted at every line, sent twice at once, stopped before its driver comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stand_ins import FOLDER
from typer.testing import CliRunner

from nas import stopping
from nas.cli import remote
from nas.cli.app import application
from nas.cli.exits import Exit
from nas.driver import Ending, drive, start
from nas.home import open_log
from nas.job import Job
from nas.log import Log
from nas.process import Process
from nas.remote import submission
from nas.remote.driver import REFUSED, signed
from nas.remote.job_server import AwayError
from nas.remote.kept import place
from nas.remote.submission import Destination, Submission, await_driver, begin, prepare, send, store
from workers.artifacts import Artifacts
from workers.errors import UserError
from workers.trial import Json

HERE = "http://127.0.0.1:8265"
JOB: dict[str, Json] = {
    "name": "far",
    "task": "stand_ins:SumTask",
    "space": "stand_ins:GridSpace",
    "strategy": "stand_ins:Uniform",
    "pool": "stand_ins:Instant",
    "budget": {"trials": 2},
    "final": {"top": 0},
}


class Cluster:
    """Stands for a job server: one that is asked whether a job has ended does `then`, and says so after `over`."""

    address = HERE

    def __init__(self, then: Callable[[], Any] = lambda: None) -> None:
        self.then = then
        self.over = self.waiting = False
        self.printed = ""
        self.jobs: list[str] = []

    def submit(self, name: str, *given: Any) -> str:
        self.jobs.append(name)
        return name

    def ended(self, job: str) -> bool:
        self.then()
        return self.over

    def pending(self, job: str) -> bool:
        return self.waiting

    def logs(self, job: str) -> str:
        return self.printed

    def message(self, job: str) -> str:
        return "failed"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setattr(submission, "_copied", lambda folder: [])
    monkeypatch.setattr(submission, "LOOK", 0.001)
    with closing(open_log()) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (made / "stand_ins.py").write_text(Path(FOLDER, "stand_ins.py").read_text())
    return made


def sent(log: Log, cluster: Any, search: str) -> Submission:
    return send(search, log, Destination(cluster, None))


def created(log: Log, folder: Path) -> str:
    prepared = prepare(Job.parse({**JOB, "folder": str(folder)}), HERE, None)
    search = begin(prepared, log)
    store(prepared, log, search)
    return search


def arrive(log: Log, invited: Submission) -> None:
    """What an invited driver does before it takes the search."""
    answer = signed(invited.invitation, Process.here()).encode()
    Artifacts.open(place(log, log.header("far"))).put_whole("far", invited.invitation.answer, answer)


def test_a_search_that_waits_for_its_driver_can_be_stopped(log: Log, folder: Path) -> None:
    cluster: Any = Cluster(lambda: log.header("far").state == "created" and stopping.stop("far", log))
    invited = sent(log, cluster, created(log, folder))
    cluster.waiting = True
    assert await_driver(invited, log, cluster)
    arrive(log, invited)
    assert drive("far", log, after=invited.invitation.epoch) == Ending("far", "stopped", stopping.BEFORE)
    assert drive("far", log, after=sent(log, cluster, "far").invitation.epoch).state == "finished"


def test_of_two_drivers_that_are_sent_at_once_one_drives_and_the_other_stops_nothing(log: Log, folder: Path) -> None:
    cluster: Any = Cluster()
    search = created(log, folder)
    one, other = sent(log, cluster, search), sent(log, cluster, search)
    arrive(log, one)
    log.acquire(search)
    assert await_driver(one, log, cluster)
    looks = iter(range(5))

    def refused() -> None:
        if next(looks) == 3:
            cluster.over, cluster.printed = True, f"{REFUSED}far is being run by process 7"

    cluster.then = refused
    with pytest.raises(UserError, match=r"^far is being run by process 7$"):
        await_driver(other, log, cluster)
    assert not list(log.entries(search, kinds=("request",)))
    log.release(search, 1, "interrupted")
    assert drive(search, log, after=other.before) == Ending(search, "interrupted")


@pytest.mark.parametrize("answers", ["none", "another process's"])
def test_a_driver_whose_answer_is_not_seen_is_asked_to_stop(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    cluster: Any = Cluster()
    invited = sent(log, cluster, created(log, folder))
    if answers != "none":
        monkeypatch.setattr(submission, "signed", lambda *_: "")
        arrive(log, invited)
    log.acquire("far")
    monkeypatch.setattr(submission, "SILENCE", 0.05)
    with pytest.raises(UserError, match="artifacts must be in a place that both reach"):
        await_driver(invited, log, cluster)
    assert [entry.body["kind"] for entry in log.entries("far", kinds=("request",))] == ["stop"]


def test_a_cluster_that_falls_silent_may_begin_all_the_same(log: Log, folder: Path) -> None:
    def away() -> None:
        raise AwayError("the cluster does not answer any more")

    cluster: Any = Cluster(away)
    with pytest.raises(AwayError):
        remote.launch(log, created(log, folder), Destination(cluster, None))
    assert log.header("far").state == "created"


def test_searches_that_begin_at_once_under_one_name_have_names_of_their_own(log: Log, folder: Path) -> None:
    job = Job.parse({**JOB, "folder": FOLDER})
    barrier = threading.Barrier(6)

    def beginning(_: int) -> str:
        with closing(open_log()) as opened:
            barrier.wait()
            return start(job, opened)

    with ThreadPoolExecutor(6) as crew:
        names = sorted(crew.map(beginning, range(6)))
    assert names == ["far", *(f"far-{number}" for number in range(2, 7))]


@pytest.mark.parametrize(
    ("where", "name", "state", "sendable"),
    [
        ("nas.cli.output", "write", "created", False),
        ("nas.remote.submission", "keep", "failed", False),
        ("nas.remote.submission", "archive", "created", True),
        ("nas.remote.submission", "release_of", "created", True),
        (__name__, "Cluster.submit", "created", True),
        (__name__, "Cluster.ended", "created", True),
    ],
)
def test_a_submission_that_is_interrupted_leaves_nothing_that_cannot_be_sent_or_stopped(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch, where: str, name: str, state: str, sendable: bool
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    path = folder / "job.yaml"
    path.write_text("\n".join(f"{key}: {value!r}" for key, value in JOB.items()).replace("'", '"'))
    with monkeypatch.context() as patched:
        patched.setattr(remote, "server_at", lambda address: Cluster())
        patched.setattr(f"{where}.{name}", interrupted)
        said = CliRunner().invoke(application(), ["submit", str(path)])
    assert said.exit_code == Exit.INTERRUPTED, said.stderr
    assert ("nas resume far --address" in said.stderr) == sendable
    assert log.header("far").state == state
    cluster: Any = Cluster()
    if not sendable:
        with pytest.raises(UserError, match="submit its job again"):
            sent(log, cluster, "far")
    else:
        assert sent(log, cluster, "far").job == "nas-far"
    if state == "created":
        assert not stopping.stop("far", log)
        assert log.header("far").state == "stopped"
