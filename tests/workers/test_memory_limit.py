"""A worker's memory: who takes too much is infeasible, and its worker and its neighbours live on. Real allocations."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from conftest import Require
from hypothesis import given
from hypothesis import strategies as st

from nas.job import Job
from search_spaces.decisions import Candidate
from workers import footprint, memory_limit
from workers.errors import UserError
from workers.memory_limit import MemoryLimit
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pool import Pool
from workers.pools.local import Local
from workers.setup import Setup
from workers.size import parsed, shown
from workers.trial import Attempt, Result, Trial

MB = 1_000_000
HUNGRY = """
import subprocess
import sys
import time

kept = []


def train(values):
    held, how = [], values["how"]
    if how == "grow":
        for _ in range(100):
            held.append(b"x" * 10_000_000)
            time.sleep(0.01)
    if how == "leap":
        held.append(bytearray(1_500_000_000))  # address space alone
    if how == "hand on":
        code = "import time; held = b'x' * 500_000_000; time.sleep(1000)"
        subprocess.Popen([sys.executable, "-c", code])
        time.sleep(1000)  # deaf, too: nothing is raised in a call into C
    if how == "leak":
        kept.append(b"x" * 150_000_000)
    if how == "deaf":
        while True:
            try:
                while len(held) < 30:
                    held.append(b"x" * 10_000_000)
                time.sleep(0.1)
            except MemoryError:
                pass
    if how == "torch":
        import torch

        grown = torch.ones(1_000_000)
        while True:
            grown = torch.cat([grown, grown])
    if how == "wait":
        time.sleep(2)
    return 1.0


train.decisions = {"how": {"choice": ["fine", "grow", "leap", "hand on", "leak", "deaf", "torch", "wait"]}}
"""

LOADING = """
import os
import time
from pathlib import Path

held = b"x" * 300_000_000
while not Path("{gate}").exists():
    time.sleep(0.01)
del held


def train(values):
    return 1.0


train.decisions = {{"how": {{"choice": ["fine", "other"]}}}}
"""


def setup_at(folder: Path) -> Setup:
    (folder / "hungry.py").write_text(HUNGRY)
    return Setup("s", Spec("hungry:train"), folder=str(folder))


def run(pool: Pool, *ways: str) -> dict[str, Result]:
    """The results by their ways, all at once."""
    for number, how in enumerate(ways):
        pool.submit(Attempt(Trial(number, Candidate({"how": how}))))
    results: dict[str, Result] = {}
    while pool.busy:
        results |= {ways[event.trial_id]: event for event in pool.wait(0.05) if isinstance(event, Result)}
    return results


def pids(pool: Any) -> list[int]:
    return [worker.process.pid for worker in pool._workers]


def test_a_trial_that_takes_too_much_is_infeasible_and_its_worker_and_neighbour_live_on(tmp_path: Path) -> None:
    with closing(Local(setup_at(tmp_path), slots=2, memory="200 MB")) as pool:
        results = run(pool, "wait", "grow")
        before = pids(pool)
        assert results["wait"].outcome is Outcome.COMPLETED
        grown = results["grow"]
        assert grown.outcome is Outcome.INFEASIBLE
        assert str(grown.error).startswith("out of memory (it held 2")
        assert "its worker's limit is 200 MB" in str(grown.error)
        leapt = run(pool, "leap")["leap"]  # at once, as no look could be in time
        assert (leapt.outcome, leapt.seconds < 1) == (Outcome.INFEASIBLE, True)
        assert run(pool, "fine")["fine"].outcome is Outcome.COMPLETED
        assert pids(pool) == before


def test_a_worker_that_holds_what_children_left_is_replaced(tmp_path: Path) -> None:
    with closing(Local(setup_at(tmp_path), slots=1, memory="250 MB", grace=1.0)) as pool:
        (first,) = pids(pool)
        assert run(pool, "leak")["leak"].outcome is Outcome.COMPLETED
        (second,) = pids(pool)
        assert second != first
        assert run(pool, "hand on")["hand on"].outcome is Outcome.INFEASIBLE
        assert pids(pool) != [second]
        assert run(pool, "leak")["leak"].outcome is Outcome.COMPLETED


def test_who_is_deaf_is_killed_after_a_grace(tmp_path: Path) -> None:
    with closing(Local(setup_at(tmp_path), slots=1, memory="200 MB", grace=1.0)) as pool:
        (before,) = pids(pool)
        result = run(pool, "deaf")["deaf"]
        assert result.outcome is Outcome.INFEASIBLE
        assert "its worker's limit is 200 MB, and it did not stop" in str(result.error)
        assert run(pool, "fine")["fine"].outcome is Outcome.COMPLETED
        assert pids(pool) != [before]


def test_a_limit_below_the_worker_itself_is_refused(tmp_path: Path) -> None:
    with closing(Local(setup_at(tmp_path), slots=1, memory=2 * MB)) as pool, pytest.raises(UserError) as error:
        run(pool, "fine")
    assert "memory of the pool is 2 MB, but a worker that has loaded its data" in str(error.value)


def test_what_a_worker_takes_while_it_loads_is_no_fault_of_its_attempt(tmp_path: Path) -> None:
    (tmp_path / "loading.py").write_text(LOADING.format(gate=tmp_path / "gate"))
    setup = Setup("s", Spec("loading:train"), folder=str(tmp_path))
    with closing(Local(setup, slots=1, memory="200 MB", grace=0.1)) as pool:
        pool.submit(Attempt(Trial(0, Candidate({"how": "fine"}))))
        loaded: list[int] = []
        events: list[Result] = []
        while len(loaded) < 3:  # looks at the worker, half a second apart, that found too much
            events += [event for event in pool.wait(0.5) if isinstance(event, Result)]
            loaded += [pid for pid in pids(pool) if footprint.held(pid) > 300 * MB]
            assert not events
        assert len(set(loaded)) == 1
        (tmp_path / "gate").touch()
        while pool.busy:
            events += [event for event in pool.wait(0.05) if isinstance(event, Result)]
        assert [event.outcome for event in events] == [Outcome.COMPLETED]


@pytest.mark.parametrize("memory", ["2 GBB", "lots", "-1 GB", 0])
def test_sizes_that_are_none_are_refused(memory: str | int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="memory is"):
        Local(setup_at(tmp_path), slots=1, memory=memory)


def test_a_job_says_it_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "hungry.py").write_text(HUNGRY)
    job = {"name": "j", "task": "hungry:train", "folder": str(tmp_path), "pool": {"name": "local", "memory": "2 GBB"}}
    with pytest.raises(UserError, match=r"pool\.memory is '2 GBB', but must be a number of bytes, such as 20 GB"):
        Job.parse(job)
    Job.parse({**job, "pool": {"name": "local", "memory": "2 GB"}})
    Job.parse({**job, "pool": {"name": "ray", "memory": 2_000_000_000}})


def watches() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "memory limit"]


def test_what_is_told_as_the_watch_ends_leaves_neither_bound_nor_thread() -> None:
    """An exception that another thread raises may come where a function begins; a trace can raise it just there."""
    before, trace, told = resource.getrlimit(resource.RLIMIT_DATA), sys.gettrace(), list[str]()

    def interrupt(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if code.co_filename == memory_limit.__file__ and code.co_name in ("__exit__", "end") and not told:
            told.append(event)
            raise memory_limit.ExceededError

    with suppress(MemoryError), MemoryLimit(footprint.held(os.getpid()) + 1000 * MB).watched():
        sys.settrace(interrupt)
    sys.settrace(trace)
    assert told == ["call"]
    assert (resource.getrlimit(resource.RLIMIT_DATA), watches()) == (before, [])


def test_a_host_that_has_no_room_for_a_watch_keeps_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MemoryLimit(footprint.held(os.getpid()) + 1000 * MB)
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="new thread"), limit.watched():
        raise AssertionError
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@given(st.integers(1, 10**15))
def test_what_is_shown_can_be_read(size: int) -> None:
    assert parsed(shown(size)) == pytest.approx(size, rel=0.006)


def test_memory_that_processes_share_counts_once() -> None:
    code = "import os, time; held = b'x' * 200_000_000; os.fork(); print('there', flush=True); time.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while footprint.held(process.pid) < 200 * MB or not footprint.offspring(process.pid):
            assert process.poll() is None
        children = footprint.offspring(process.pid)
        assert len(children) == 1
        single, both = footprint.held(process.pid), footprint.together(process.pid, 1, children)
        for pid in (*children, process.pid):
            os.kill(pid, 9)
    assert 200 * MB < single < 230 * MB
    assert 200 * MB < both < 250 * MB


@contextmanager
def small_host(size: int, require: Require) -> Iterator[Path]:
    """A control group whose processes have `size` bytes in all: beyond that the kernel kills one of them."""
    one, other = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    root = one if one.is_dir() else other
    group = root / f"cellwright-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if root == one else "memory.max")).write_text(str(size))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        require("cgroup", False, f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        deadline = time.monotonic() + 30
        while group.exists() and time.monotonic() < deadline:
            with suppress(OSError):
                group.rmdir()


def test_where_the_host_runs_out_the_trial_is_lost_and_issued_again(tmp_path: Path, require: Require) -> None:
    with small_host(150 * MB, require) as host, closing(Local(setup_at(tmp_path), slots=1)) as pool:
        assert run(pool, "fine")["fine"].outcome is Outcome.COMPLETED
        (worker,) = pids(pool)
        (host / "cgroup.procs").write_text(str(worker))
        result = run(pool, "grow")["grow"]
        assert (result.outcome, result.error) == (Outcome.LOST, "its worker died (SIGKILL)")
        assert run(pool, "grow")["grow"].outcome is Outcome.COMPLETED


@pytest.mark.slow
def test_what_torch_allocates_counts(tmp_path: Path) -> None:
    with closing(Local(setup_at(tmp_path), slots=1, memory="1 GB")) as pool:
        before = pids(pool)
        result = run(pool, "torch")["torch"]
        assert result.outcome is Outcome.INFEASIBLE
        assert str(result.error).startswith("out of memory (")
        assert run(pool, "fine")["fine"].outcome is Outcome.COMPLETED
        assert pids(pool) == before


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_actors_of_ray_are_limited_too(tmp_path: Path) -> None:
    from workers.pools.ray import Ray

    with closing(Ray(setup_at(tmp_path), slots=2, memory="300 MB")) as pool:
        while pool.free < 2:
            pool.wait(0.1)
        results = run(pool, "wait", "grow")
        assert results["wait"].outcome is Outcome.COMPLETED
        assert results["grow"].outcome is Outcome.INFEASIBLE
        assert "its worker's limit is 300 MB" in str(results["grow"].error)
        deaf = run(pool, "deaf")["deaf"]
        assert deaf.outcome is Outcome.INFEASIBLE
        assert "and it did not stop" in str(deaf.error)
        while pool.free < 2:
            pool.wait(0.1)
        assert run(pool, "leak", "fine")["leak"].outcome is Outcome.COMPLETED
        while pool.free < 2:
            pool.wait(0.1)
        assert run(pool, "leak", "fine")["leak"].outcome is Outcome.COMPLETED
