"""Every pool in the folder keeps the contract of `Pool`, whatever its children do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Outcome
from workers.plugins import Spec, available, load
from workers.pool import Event, Pool, Progress, Slots
from workers.setup import Setup
from workers.trial import Attempt, Result, Trial

POOLS = sorted(available("workers.pools", Pool))
IN_THE_DRIVER = {"simulated"}  # there a child that kills its process would kill this one
PROCESSES = [name for name in POOLS if name not in IN_THE_DRIVER]

CHILDREN = '''
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from search_spaces.decisions import Decisions
from search_spaces.space import Signature
from workers.objectives import Direction, Objective
from workers.task import Epoch, Task


@dataclass(frozen=True)
class Child(Task):
    """Does what its candidate says."""

    decisions = Decisions()
    signature = Signature("none")
    objectives = (Objective("score", Direction.MAXIMIZE),)
    epochs = 1

    def train(self, model, trial, state) -> Iterator[Epoch]:
        wish = trial.candidate["wish"]
        if wish == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if wish == "raise":
            raise RuntimeError("as it was told")
        if wish == "exit":
            sys.exit(3)
        if wish == "print":
            print('{"result": {"trial_id": 99}}', flush=True)
            os.write(1, b"not json at all")
            os.write(2, b"nor this" * 100)
        if wish == "measure":
            yield Epoch({"score": float(len(trial.candidate["text"]))})
            return
        if wish == "look":
            yield Epoch({"torch": float("torch" in sys.modules), "threads": float(os.environ["OMP_NUM_THREADS"])})
            return
        for epoch in range(trial.epochs):
            yield Epoch({"score": float(epoch + 1), "pid": float(os.getpid())})
            if wish == "hang" or (wish == "linger" and epoch == 0):
                while not Path(trial.candidate["gate"]).exists():
                    time.sleep(0.01)
'''

BROKEN = "raise OSError('the data set is not there')"


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    """One Ray cluster for all tests, which the pools join."""
    if "ray" in POOLS:
        import ray

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()
    else:
        yield


Open = Callable[..., Pool]


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path, _cluster: None) -> Iterator[Open]:
    """`start(name, options, **setup)`: a pool with two slots whose children are found in a folder of the user's."""
    module = f"children_{tmp_path.parent.name}_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{module}.py").write_text(dedent(CHILDREN))
    (tmp_path / "broken_children.py").write_text(BROKEN)
    opened: list[Pool] = []
    here = Path.cwd()

    def start(name: str, options: Mapping[str, Any] | None = None, task: str = "", **further: Any) -> Pool:
        spec = Spec(task or f"{module}:Child")
        if name in IN_THE_DRIVER:
            os.chdir(tmp_path)
        setup = Setup("s", spec, folder=str(tmp_path), **further)
        pool: Pool = load("workers.pools", name, Pool)(setup, **{"slots": 2, **(options or {})})
        opened.append(pool)
        return pool

    yield start
    os.chdir(here)
    for pool in opened:
        pool.close()


def attempt(number: int, wish: str = "train", epochs: int = 1, **further: str) -> Attempt:
    return Attempt(Trial(number, Candidate({"wish": wish, **further}), epochs=epochs, horizon=epochs))


def place(pool: Pool, trying: Callable[[], bool] = lambda: False) -> None:
    """Wait until there is a free slot, or for as long as `trying`."""
    while not pool.free or trying():
        pool.wait(0.5)


def results(pool: Pool, count: int, events: list[Event] | None = None) -> list[Result]:
    """Wait for `count` results."""
    found: list[Result] = []
    while len(found) < count:
        arrived = pool.wait(0.5)
        found += [event for event in arrived if isinstance(event, Result)]
        if events is not None:
            events += arrived
    return found


@pytest.mark.parametrize("name", POOLS)
def test_every_attempt_ends_in_one_result_and_the_books_are_kept(name: str, start: Open) -> None:
    pool = start(name)
    waiting = [attempt(i, "raise" if i % 3 == 0 else "train") for i in range(20)]
    found: list[Result] = []
    running = 0
    while waiting or pool.busy:
        while pool.free and waiting:
            pool.submit(waiting.pop())
            running += 1
        assert pool.busy == running
        arrived = [event for event in pool.wait(0.5) if isinstance(event, Result)]
        running -= len(arrived)
        found += arrived
    assert sorted(result.trial_id for result in found) == list(range(20))
    for result in found:
        failed = result.trial_id % 3 == 0
        assert result.outcome is (Outcome.FAILED if failed else Outcome.COMPLETED), result
        assert result.metrics.get("score") == (None if failed else 1.0)
        assert "as it was told" in (result.error or "") or not failed
    assert pool.busy == 0
    assert pool.wait(0.0) == []
    pool.close()


@pytest.mark.parametrize("name", POOLS)
def test_slots_are_announced_and_limit_what_is_free(name: str, start: Open, tmp_path: Path) -> None:
    pool = start(name)
    slots: list[int] = []
    while slots[-1:] != [2]:
        slots += [event.total for event in pool.wait(0.5) if isinstance(event, Slots)]
    assert (pool.free, pool.busy) == (2, 0)
    pool.submit(attempt(1))
    assert (pool.free, pool.busy) == (1, 1)
    pool.submit(attempt(2))
    assert (pool.free, pool.busy) == (0, 2)
    results(pool, 2)
    assert (pool.free, pool.busy) == (2, 0)


@pytest.mark.parametrize("name", POOLS)
def test_waiting_for_nothing_ends(name: str, start: Open) -> None:
    pool = start(name)
    place(pool, lambda: pool.free < 2)  # a slot that comes up later is an event
    before = time.monotonic()
    while any(isinstance(event, Slots) for event in pool.wait(0.01)):
        pass
    assert pool.wait(0.01) == []
    assert time.monotonic() - before < 60
    assert pool.busy == 0


@pytest.mark.parametrize("name", POOLS)
def test_closing_twice_is_harmless_and_ends_what_runs(name: str, start: Open, tmp_path: Path) -> None:
    pool = start(name)
    place(pool)
    pool.submit(attempt(1) if name in IN_THE_DRIVER else attempt(1, "hang", gate=str(tmp_path / "never")))
    pool.close()
    assert (pool.free, pool.busy) == (0, 0)
    assert pool.wait(0.0) == []
    pool.close()


@pytest.mark.parametrize("name", POOLS)
def test_a_large_candidate_arrives_whole(name: str, start: Open) -> None:
    pool = start(name)
    place(pool)
    pool.submit(attempt(1, "measure", text="x" * 3_000_000))
    assert results(pool, 1)[0].metrics["score"] == 3_000_000


@pytest.mark.parametrize("name", POOLS)
def test_what_a_trial_prints_is_no_result(name: str, start: Open, capfd: pytest.CaptureFixture[str]) -> None:
    pool = start(name)
    place(pool)
    pool.submit(attempt(1, "print"))
    pool.submit(attempt(2)) if pool.free else None
    found = results(pool, pool.busy)
    assert {result.outcome for result in found} == {Outcome.COMPLETED}
    if name not in IN_THE_DRIVER:
        said = capfd.readouterr().out  # Ray tells a driver, there and late, of workers that died in earlier tests
        assert not [words for words in ("trial_id", "not json", "nor this") if words in said]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_worker_that_is_killed_loses_its_attempt_and_is_replaced(name: str, start: Open) -> None:
    pool = start(name, {"slots": 1})
    place(pool)
    pool.submit(attempt(1, "die"))
    (result,) = results(pool, 1)
    assert (result.trial_id, result.outcome) == (1, Outcome.LOST)
    assert result.error
    assert "died" in result.error
    place(pool)
    pool.submit(attempt(2))
    (result,) = results(pool, 1)
    assert (result.trial_id, result.outcome) == (2, Outcome.COMPLETED)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_child_that_exits_has_failed(name: str, start: Open) -> None:
    pool = start(name)
    place(pool)
    pool.submit(attempt(1, "exit"))
    (result,) = results(pool, 1)
    assert result.outcome is Outcome.FAILED
    assert "SystemExit" in (result.error or "")


@pytest.mark.parametrize("name", PROCESSES)
def test_an_attempt_over_its_time_limit_fails_with_its_last_metrics(name: str, start: Open, tmp_path: Path) -> None:
    pool = start(name, {"grace": 1.0}, time_limit=0.25, epochs=1)
    place(pool)
    pool.submit(attempt(1, "hang", epochs=2, gate=str(tmp_path / "never")))
    (result,) = results(pool, 1)
    assert result.outcome is Outcome.FAILED
    assert "time limit of 0.5 s" in (result.error or "")
    assert (result.metrics["score"], result.epochs) == (1.0, 1)
    place(pool)
    pool.submit(attempt(2))
    assert results(pool, 1)[0].outcome is Outcome.COMPLETED


@pytest.mark.parametrize("name", PROCESSES)
def test_the_progress_of_a_long_attempt_arrives_in_order_and_once(name: str, start: Open, tmp_path: Path) -> None:
    pool = start(name, {"slots": 1})
    place(pool)
    gate = tmp_path / "gate"
    pool.submit(attempt(7, "linger", epochs=5, gate=str(gate)))
    events: list[Event] = []
    while not any(isinstance(event, Progress) for event in events):
        events += pool.wait(0.5)
    gate.touch()
    results(pool, 1, events)
    progress = [event for event in events if isinstance(event, Progress)]
    assert [(p.trial_id, p.attempt, p.epoch, p.metrics["score"]) for p in progress] == [
        (7, 1, epoch, float(epoch)) for epoch in range(1, 6)
    ]
    assert isinstance(events[-1], Result)


@pytest.mark.parametrize("name", PROCESSES)
def test_workers_are_kept_between_trials_and_import_no_torch_of_their_own(name: str, start: Open) -> None:
    pool = start(name, {"slots": 1}, threads=1)
    pids = set()
    for number in range(3):
        place(pool)
        pool.submit(attempt(number))
        pids.add(results(pool, 1)[0].metrics["pid"])
    assert len(pids) == 1
    assert os.getpid() not in pids
    pool.submit(attempt(4, "look"))
    metrics = results(pool, 1)[0].metrics
    assert (metrics["torch"], metrics["threads"]) == (0.0, 1.0)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_worker_that_cannot_start_says_why(name: str, start: Open) -> None:
    pool = start(name, task="broken_children:Child")
    with pytest.raises(UserError, match="the data set is not there"):
        place(pool, trying=lambda: True)


@pytest.mark.parametrize("name", POOLS)
def test_no_slots_at_all_is_the_users_mistake(name: str, start: Open) -> None:
    with pytest.raises(UserError, match="slots is 0"):
        start(name, {"slots": 0})
