"""A submitted search as its journal has it: followed from here, with its files wherever it is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nas.driver import start
from nas.history import Entry, History
from nas.home import open_log
from nas.job import Job
from nas.live import Machines
from nas.log import Log
from nas.recorded import current_job
from nas.remote.following import follow
from nas.remote.kept import NAME, cache, submitted
from nas.remote.resubmission import check_machines, to_cluster
from nas.remote.submission import begin, failing, on_cluster, prepare, store
from search_spaces.decisions import Candidate
from workers.errors import DamagedError, UserError
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.trial import Json, Result, Trial

HERE = "http://127.0.0.1:8265"


@pytest.fixture
def log() -> Iterator[Log]:
    with closing(open_log()) as opened:
        yield opened


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job with a module of the user's own, in a process that has not imported it."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "travelling.py").write_text("def train(decisions):\n    return decisions['x']\n")
    task = {"name": "travelling:train", "decisions": {"x": {"range": [0.0, 1.0]}}}
    return Job.parse({"name": "far", "folder": str(folder), "task": task, "strategy": "random", "final": {"top": 0}})


def submit(job: Job, log: Log) -> str:
    """As far as it goes without a cluster."""
    search = begin(prepared := prepare(job, HERE, None), log)
    store(prepared, log, search)
    return search


def entry(kind: str, number: int | None, body: dict[str, Json]) -> Entry:
    return Entry(0, 1.0, kind, number, body)


class Views:
    """What a view was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int, bool]] = []

    def turn(self, history: History, pool: Machines) -> None:
        self.seen.append((len(history.trials), pool.busy, pool.free, history.stopping))


def test_a_pool_of_this_machine_becomes_that_of_the_cluster_and_a_users_own_stays() -> None:
    assert on_cluster(Spec("local", {"slots": 3})) == Spec("ray", {"slots": 3, "address": "auto"})
    assert on_cluster(Spec("ray", {"address": "elsewhere:1"})) == Spec("ray", {"address": "auto"})
    assert on_cluster(Spec("mine:Pool", {"a": 1})) == Spec("mine:Pool", {"a": 1})


def test_the_files_of_a_submitted_job_come_out_of_the_artifacts_when_their_folder_is_gone(job: Job, log: Log) -> None:
    search = submit(job, log)
    record = log.header(search).job
    assert submitted(record)
    assert str(job.folder) not in str(record)
    shutil.rmtree(job.folder)
    found = current_job(log, search)
    assert (found.pool.name, found.pool.options["address"]) == ("ray", "auto")
    assert Path(found.folder).parent == cache()
    assert (Path(found.folder) / "travelling.py").read_text().startswith("def train")


def test_other_files_than_those_that_travelled_are_refused(job: Job, log: Log, tmp_path: Path) -> None:
    search = submit(job, log)
    path = tmp_path / "home" / search / "job" / NAME
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DamagedError, match="is damaged"):
        current_job(log, search)
    from workers.artifacts import Artifacts

    Artifacts.open(str(tmp_path / "home")).put_whole(search, NAME, content[:-1])
    with pytest.raises(DamagedError, match="is not what travelled with the job"):
        current_job(log, search)


def test_only_a_search_that_has_not_begun_fails_when_it_cannot_be_sent(job: Job, log: Log) -> None:
    search = submit(job, log)
    with pytest.raises(UserError, match="nobody"), failing(log, search):
        raise UserError("nobody is there")
    assert (log.header(search).state, log.header(search).reason) == ("failed", "nobody is there")
    log.release(search, log.acquire(search), "interrupted")
    with pytest.raises(UserError), failing(log, search):
        raise UserError("nobody is there")
    assert log.header(search).state == "interrupted"


def test_a_search_of_a_cluster_goes_on_there_or_here_where_one_says_so(job: Job, log: Log) -> None:
    from nas.driver import extend

    search = submit(job, log)
    with pytest.raises(UserError, match=r"--address http://HEAD:8265.*--set pool=local"):
        check_machines(search, log)
    extend(search, log, {"pool": "local"})
    check_machines(search, log)
    to_cluster(search, log)
    assert current_job(log, search).pool == Spec("ray", {"address": "auto"})
    local = start(job, log)
    check_machines(local, log)
    with pytest.raises(UserError, match="began on this machine"):
        to_cluster(local, log)


def test_a_search_is_followed_until_it_ends(log: Log) -> None:
    log.create("far", {}, {})
    epoch = log.acquire("far")
    slots = entry("slots", None, {"total": 3})
    asked = [entry("ask", 0, Trial(0, Candidate({})).json()), entry("attempt", 0, {"number": 1})]
    log.append("far", epoch, [slots, *asked])
    views = Views()

    class Driving(Views):
        """Drives the search a step whenever it is shown."""

        def turn(self, history: History, pool: Machines) -> None:
            views.turn(history, pool)
            if len(views.seen) == 1:
                log.request("far", "stop", {})
            elif len(views.seen) == 2:
                result = Result(0, 1, Outcome.COMPLETED, {"score": 1.0})
                log.append("far", epoch, [entry("tell", 0, result.json())])
                log.release("far", epoch, "stopped")

    header = follow("far", log, Driving(), interval=0)
    assert header.state == "stopped"
    assert views.seen == [(1, 1, 2, False), (1, 1, 2, True), (1, 0, 3, True)]


def test_a_search_whose_driver_is_gone_is_not_followed_for_ever(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.create("far", {}, {})
    log.acquire("far")
    monkeypatch.setattr("nas.process.Process.gone", lambda self: True)
    assert follow("far", log, Views(), interval=0).state == "running"
