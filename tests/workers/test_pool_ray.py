"""A cluster whose nodes come and go, and what its actors see."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pool import Event, Notice, Slots
from workers.pools import starts
from workers.pools.cluster import _knock, connect
from workers.pools.ray import Ray
from workers.setup import Setup
from workers.trial import Attempt, Result, Trial

ROOT = Path(__file__).parents[2]

CHILD = """
import time
from pathlib import Path


def train(values):
    Path(values["folder"], f"started-{values['name']}").touch()
    while not Path(values["folder"], "gate").exists():
        time.sleep(0.01)
    return 1.0


train.decisions = {}
"""

KILLER = """
import os
import signal
import time
from pathlib import Path


def train(values):
    if values["wish"] == "die":
        while not Path(values["folder"], "gate").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return 1.0


train.decisions = {}
"""


CRASHING = """
import os
from pathlib import Path

if Path("broken").exists():
    os._exit(7)


def train(values):
    return 1.0


train.decisions = {}
"""


@pytest.fixture(scope="module")
def raylets() -> Iterator[Any]:
    """A head of one core, which takes a quarter of a minute to start on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(raylets: Any) -> Iterator[Any]:
    """This process as a driver of it."""
    ray.init(address=raylets.address, log_to_driver=False, logging_level="ERROR")
    yield raylets
    ray.shutdown()


def collect(pool: Ray, events: list[Event], slots: int) -> None:
    """Wait until the pool has said that it has so many slots."""
    while [event.total for event in events if isinstance(event, Slots)][-1:] != [slots]:
        events += pool.wait(0.5)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_slots_follow_the_nodes_and_a_dead_node_loses_what_it_ran(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "gated.py").write_text(CHILD)
    pool = Ray(Setup("s", Spec("gated:train"), folder=str(tmp_path)))
    events: list[Event] = []
    collect(pool, events, 1)
    node = cluster.add_node(num_cpus=2, include_dashboard=False)
    collect(pool, events, 3)
    for i in range(3):
        assert pool.free
        pool.submit(Attempt(Trial(i, Candidate({"folder": str(tmp_path), "name": i}))))
    while len(list(tmp_path.glob("started-*"))) < 3:
        events += pool.wait(0.1)
    cluster.remove_node(node, allow_graceful=False)
    collect(pool, events, 1)
    lost = [event for event in events if isinstance(event, Result)]
    assert [result.outcome for result in lost] == [Outcome.LOST] * 2
    assert (pool.busy, pool.free) == (1, 0)
    (tmp_path / "gate").touch()
    while pool.busy:
        events += pool.wait(0.5)
    (ended,) = [event for event in events if isinstance(event, Result) and event not in lost]
    assert ended.outcome is Outcome.COMPLETED
    assert {result.trial_id for result in (*lost, ended)} == {0, 1, 2}
    pool.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_waits_behind_an_attempt_that_kills_its_worker_is_returned(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "killing.py").write_text(KILLER)
    pool = Ray(Setup("s", Spec("killing:train"), folder=str(tmp_path)), slots=1, depth=3)
    collect(pool, events := [], 1)
    for i, wish in enumerate(("live", "die", "live")):
        pool.submit(Attempt(Trial(i, Candidate({"folder": str(tmp_path), "wish": wish}))))
    while pool.busy == 3:
        events += pool.wait(0.5)
    (tmp_path / "gate").touch()  # an answer that has not arrived when its worker dies may die with it
    while pool.busy:
        events += pool.wait(0.5)
    outcomes = {event.trial_id: event.outcome for event in events if isinstance(event, Result)}
    assert outcomes == {0: Outcome.COMPLETED, 1: Outcome.LOST, 2: Outcome.STOPPED}
    pool.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("cluster")
def test_workers_that_crash_as_they_start_are_told_of_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing.py").write_text(CRASHING)
    (broken := tmp_path / "broken").touch()
    setup = Setup("s", Spec("crashing:train"), folder=str(tmp_path))
    monkeypatch.setattr(starts, "PAUSE", 0.1)
    with closing(Ray(setup, slots=1)) as pool:
        said: list[str] = []
        while not said:
            said += [event.text for event in pool.wait(0.2) if isinstance(event, Notice)]
        broken.unlink()
        while len(said) < 2:
            said += [event.text for event in pool.wait(0.2) if isinstance(event, Notice)]
        assert "as they start: 3 so far, the last one so: ActorDiedError on " in said[0]
        assert said[1] == "workers start on the Ray cluster again"
        assert pool.free == 1
    broken.touch()
    monkeypatch.setattr(starts, "HOPELESS", 2)
    with closing(Ray(setup, slots=1)) as pool:
        until_it_ends = iter(lambda: pool.wait(0.2), None)
        with pytest.raises(
            UserError, match="no worker comes up on the Ray cluster: 2 died as they started, in 2 tries"
        ):
            deque(until_it_ends)


@pytest.mark.slow
def test_what_this_machine_cannot_give_is_refused() -> None:
    with pytest.raises(UserError, match=r"1 slots with 7 GPUs each do not fit this machine"):
        Ray(Setup("s", Spec("gated:train")), gpus=7)


def test_a_head_with_an_address_of_version_6_is_knocked_at() -> None:
    with pytest.raises(OSError) as refused:
        _knock("[::1]:1")
    assert not isinstance(refused.value, socket.gaierror), "its brackets are no part of it"


def test_a_cluster_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        Ray(Setup("s", Spec("gated:train")), address="127.0.0.1:1")


@pytest.mark.parametrize(
    "late",
    [
        Exception("The current node timed out during startup. This could happen because"),
        TimeoutError("Timed out after 30 seconds while waiting for node to startup"),
        RuntimeError("Failed to start GCS. Last connection error: none"),
    ],
)
def test_a_busy_machine_gets_three_times_as_long_for_our_own_cluster(
    late: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def init(**options: Any) -> None:
        tries.append(options["address"])
        raise late

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError, match="does not come up on this machine, though it was started 3 times"):
        connect("local", {"CPU": 1.0, "GPU": 0.0}, 1)
    assert tries == ["local"] * 3


@pytest.mark.parametrize(("slots", "depth", "named"), [(0, 1, "slots"), (1, 0, "depth")])
def test_nothing_at_all_is_refused_before_a_cluster_is_started(slots: int, depth: int, named: str) -> None:
    with pytest.raises(UserError, match=f"{named} is 0"):
        Ray(Setup("s", Spec("gated:train")), slots=slots, depth=depth)
    assert not ray.is_initialized()


@pytest.mark.parametrize(("cpus", "gpus"), [(0, 0), (-1, 1), (1, -1)])
def test_an_attempt_that_gets_nothing_is_refused(cpus: int, gpus: int) -> None:
    with pytest.raises(UserError, match=f"cpus is {cpus} and gpus {gpus}, but"):
        Ray(Setup("s", Spec("gated:train")), cpus=cpus, gpus=gpus)
    assert not ray.is_initialized()


def test_choosing_a_pool_imports_neither_torch_nor_the_others() -> None:
    code = (
        "import sys; from workers.plugins import load; from workers.pool import Pool;"
        "load('workers.pools', 'local', Pool);"
        "assert not {'torch', 'ray', 'numpy', 'pandas'} & set(sys.modules);"
        "load('workers.pools', 'ray', Pool); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
