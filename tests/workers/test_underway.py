"""What an attempt keeps while it trains: the next one goes on from there, and ends with the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces.decisions import Candidate
from workers import draining, underway
from workers.artifacts import Artifacts
from workers.checkpoint import load
from workers.errors import DamagedError
from workers.lineage import CHECKPOINT
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pool import Progress
from workers.setup import Setup
from workers.task import State
from workers.trial import Attempt, Result, Trial
from workers.underway import UNDERWAY, Underway
from workers.workshop import Workshop

OPTIONS: dict[str, Any] = {"train_examples": 96, "validation_examples": 50, "batch_size": 40, "dropout": 0.2}
SPACE = Spec("tiny_space:TinySpace", {"drop_path": 0.3})
TRIAL = Trial(7, Candidate({"filters": 4}), epochs=4, horizon=4, seed=3)


class DeadError(BaseException):
    """What stands for the death of a process: nobody catches it."""


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every epoch is kept, and no process stays drained."""
    monkeypatch.setattr(underway, "PERIOD", 0.0)
    monkeypatch.setattr(underway, "PATIENCE", 0.0)
    yield
    draining.end()


def setup_at(folder: Path, **changes: Any) -> Setup:
    return replace(Setup("s", Spec("image_classification", OPTIONS), SPACE, artifacts=str(folder)), **changes)


def run(setup: Setup, attempt: Attempt) -> tuple[Result, list[int]]:
    """The result, and the epochs that were told of."""
    told: list[int] = []
    result = Workshop(setup).run(attempt, lambda progress: told.append(progress.epoch))
    return result, told


def dies(setup: Setup, attempt: Attempt, epoch: int) -> list[int]:
    """Let the process die in the epoch after `epoch`; the epochs that were told of."""
    told: list[int] = []

    def report(progress: Progress) -> None:
        if progress.epoch > epoch:
            raise DeadError
        told.append(progress.epoch)

    with pytest.raises(DeadError):
        Workshop(setup).run(attempt, report)
    return told


def left(folder: Path, attempt: Attempt) -> dict[str, torch.Tensor]:
    content = Artifacts.open(str(folder)).get("s", attempt.trial.id, attempt.number, CHECKPOINT)
    return dict(load(content).tensors)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def spoil(folder: Path, number: int, how: str) -> None:
    path = folder / "s" / str(TRIAL.id) / str(number) / UNDERWAY
    if how == "gone":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


def test_the_next_attempt_goes_on_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, lived = Attempt(TRIAL), Attempt(TRIAL, 3)
    unbroken, _ = run(setup_at(tmp_path / "unbroken"), whole)
    setup = setup_at(tmp_path / "broken")
    assert dies(setup, Attempt(TRIAL, 1), 2) == [1, 2]
    assert dies(setup, Attempt(TRIAL, 2), 3) == [3]
    result, told = run(setup, lived)
    assert told == [4]
    assert (result.metrics, result.epochs) == (unbroken.metrics, 4)
    assert same(left(tmp_path / "broken", lived), left(tmp_path / "unbroken", whole))


@pytest.mark.parametrize(
    ("spoilt", "expected"), [({2: "gone"}, [3, 4]), ({2: "bad"}, [3, 4]), ({1: "bad", 2: "bad"}, [1, 2, 3, 4])]
)
def test_what_is_damaged_or_gone_is_trained_again(tmp_path: Path, spoilt: dict[int, str], expected: list[int]) -> None:
    unbroken, _ = run(setup_at(tmp_path / "unbroken"), Attempt(TRIAL))
    folder = tmp_path / "broken"
    dies(setup_at(folder), Attempt(TRIAL, 1), 2)
    dies(setup_at(folder), Attempt(TRIAL, 2), 3)
    for number, how in spoilt.items():
        spoil(folder, number, how)
    result, told = run(setup_at(folder), Attempt(TRIAL, 3))
    assert told == expected
    assert result.metrics == unbroken.metrics
    assert same(left(folder, Attempt(TRIAL, 3)), left(tmp_path / "unbroken", Attempt(TRIAL)))


def test_a_rung_and_an_heir_go_on_within_their_own_epochs(tmp_path: Path) -> None:
    parent = Attempt(replace(TRIAL, id=1, epochs=2))
    rung, heir = replace(TRIAL, id=2, parent=1), replace(TRIAL, id=3, parent=1, heir=True, seed=9)
    for trial, before, after in ((rung, [3], [4]), (heir, [1, 2, 3], [4])):
        for folder in ("unbroken", "broken"):
            run(setup_at(tmp_path / folder), parent)
        unbroken, _ = run(setup_at(tmp_path / "unbroken"), Attempt(trial, 1, parent))
        setup = setup_at(tmp_path / "broken")
        assert dies(setup, Attempt(trial, 1, parent), 3) == before
        Artifacts.open(setup.artifacts).delete("s", 1, 1, CHECKPOINT)  # nobody needs it any more
        result, told = run(setup, Attempt(trial, 2, parent))
        assert told == after
        assert (result.metrics, result.epochs) == (unbroken.metrics, unbroken.epochs)


def test_a_search_of_the_same_name_leaves_nothing_to_go_on_from(tmp_path: Path) -> None:
    dies(setup_at(tmp_path), Attempt(replace(TRIAL, seed=4)), 2)
    _, told = run(setup_at(tmp_path), Attempt(TRIAL, 2))
    assert told == [1, 2, 3, 4]
    dies(setup_at(tmp_path), Attempt(TRIAL, 3), 2)
    other = Spec("image_classification", {**OPTIONS, "batch_size": 20})
    _, told = run(setup_at(tmp_path, task=other), Attempt(TRIAL, 4))
    assert told == [1, 2, 3, 4]


def test_another_release_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dies(setup_at(tmp_path), Attempt(TRIAL), 2)
    monkeypatch.setattr(underway, "release", lambda: "another one", raising=False)
    _, told = run(setup_at(tmp_path), Attempt(TRIAL, 2))
    assert told == [1, 2, 3, 4]


def test_an_attempt_that_was_given_up_and_goes_on_spoils_nothing(tmp_path: Path) -> None:
    unbroken, _ = run(setup_at(tmp_path / "unbroken"), Attempt(TRIAL))
    setup = setup_at(tmp_path / "broken")
    dies(setup, Attempt(TRIAL, 1), 1)
    zombie = Attempt(replace(TRIAL, seed=99))  # nothing that it writes is what it should be

    def report(progress: Progress) -> None:
        if progress.epoch == 3:
            Workshop(setup).run(zombie, lambda one: None)
            raise DeadError

    with pytest.raises(DeadError):
        Workshop(setup).run(Attempt(TRIAL, 2), report)
    result, told = run(setup, Attempt(TRIAL, 3))
    assert told == [3, 4]
    assert result.metrics == unbroken.metrics
    assert same(left(tmp_path / "broken", Attempt(TRIAL, 3)), left(tmp_path / "unbroken", Attempt(TRIAL)))


def test_a_drained_worker_keeps_its_state_and_gives_the_trial_back(tmp_path: Path) -> None:
    unbroken, _ = run(setup_at(tmp_path / "unbroken"), Attempt(TRIAL))
    setup = setup_at(tmp_path / "drained")
    underway.PERIOD = 1000.0  # it is not time to keep anything
    workshop = Workshop(setup)
    result = workshop.run(Attempt(TRIAL), lambda progress: draining.begin() if progress.epoch == 2 else None)
    assert (result.outcome, result.error, result.epochs) == (Outcome.STOPPED, "its node is being drained", 2)
    assert not result.outcome.charged
    refused = workshop.run(Attempt(TRIAL, 2), lambda progress: None)
    assert (refused.outcome, refused.epochs) == (Outcome.STOPPED, 0)
    draining.end()
    again, told = run(setup, Attempt(TRIAL, 3))
    assert told == [3, 4]
    assert again.metrics == unbroken.metrics


def test_what_can_keep_nothing_goes_on_while_its_machine_is_there(tmp_path: Path) -> None:
    for setup in (setup_at(tmp_path, artifacts=""), setup_at(Path("/proc/nothing"))):
        result = Workshop(setup).run(Attempt(TRIAL), lambda progress: draining.begin())
        assert result.outcome is Outcome.COMPLETED
        draining.end()


def test_a_full_disk_costs_what_would_be_kept_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        dies(setup_at(tmp_path), Attempt(TRIAL), 3)
    result, told = run(setup_at(tmp_path), Attempt(TRIAL, 2))
    assert told == [1, 2, 3, 4]
    assert result.outcome is Outcome.COMPLETED


def test_it_is_removed_once_the_worker_is_given_something_else(tmp_path: Path) -> None:
    artifacts, workshop = Artifacts.open(str(tmp_path)), Workshop(setup_at(tmp_path))
    workshop.run(Attempt(TRIAL), lambda progress: None)
    assert UNDERWAY in [one.name for one in artifacts.list("s")]  # until then the result may be lost with the driver
    other = replace(TRIAL, id=8, epochs=1)
    workshop.run(Attempt(other), lambda progress: None)
    assert [(one.trial, one.name) for one in artifacts.list("s")] == [(7, CHECKPOINT), (8, CHECKPOINT)]


def test_seconds_are_those_of_all_attempts(tmp_path: Path) -> None:
    setup = setup_at(tmp_path, measure=("seconds",))
    dies(setup, Attempt(TRIAL), 3)
    first = Underway(setup, Artifacts.open(str(tmp_path)), Attempt(TRIAL, 2)).found()
    assert first is not None
    result, _ = run(setup, Attempt(TRIAL, 2))
    assert result.metrics["seconds"] == pytest.approx(first.seconds + result.device_seconds)


def test_neither_looks_nor_tests_keep_anything(tmp_path: Path) -> None:
    trained = Attempt(TRIAL)
    run(setup_at(tmp_path), trained)
    run(setup_at(tmp_path), Attempt(replace(TRIAL, id=1, epochs=0)))
    run(setup_at(tmp_path), Attempt(replace(TRIAL, id=2, epochs=0, parent=7, split="test"), 1, trained))
    kept = {one.trial for one in Artifacts.open(str(tmp_path)).list("s") if one.name == UNDERWAY}
    assert kept == {7}


def test_writing_costs_a_twentieth_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(underway, "PERIOD", 1.0)
    monkeypatch.setattr(underway, "PATIENCE", 20.0)
    now, took = 0.0, 0.0

    def put(*arguments: Any) -> None:
        nonlocal now
        now += took

    artifacts = Artifacts.open(str(tmp_path))
    monkeypatch.setattr(type(artifacts), "put", put)
    kept = Underway(setup_at(tmp_path), artifacts, Attempt(TRIAL), lambda: now)
    state = State(1, {"model/a": torch.zeros(3)})
    written = []
    for tick in range(100):
        now = max(now, tick / 10)
        took = 0.0 if tick < 50 else 0.1
        if kept.keep(state, 0.0):
            written.append(round(now, 1))
    assert written == [1.0, 2.0, 3.0, 4.0, 5.1, 7.2, 9.3]
    kept.keep(state, 0.0, now=True)
    assert kept.epoch == 1


@pytest.fixture(scope="module")
def kept_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifacts folder with a checkpoint and what was kept under way."""
    folder = tmp_path_factory.mktemp("kept")
    setup, state = setup_at(folder), State(2, {"model/a": torch.randn(50, 7)}, {"seed": 3})
    artifacts = Artifacts.open(str(folder))
    kept = Underway(setup, artifacts, Attempt(TRIAL))
    assert kept.keep(state, 1.5, now=True)
    from workers.checkpoint import save

    artifacts.put("s", TRIAL.id, 1, CHECKPOINT, save(state))
    return folder


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from([UNDERWAY, CHECKPOINT]), tears=st.booleans())
def test_no_damage_goes_unnoticed(kept_files: Path, data: st.DataObject, name: str, tears: bool) -> None:
    path = kept_files / "s" / str(TRIAL.id) / "1" / name
    artifacts, whole = Artifacts.open(str(kept_files)), path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1), label="place")
    damaged = bytearray(whole[:place] if tears else whole)
    if not tears:
        damaged[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    path.write_bytes(damaged)
    try:
        with pytest.raises(DamagedError):
            artifacts.get("s", TRIAL.id, 1, name)
        if name == UNDERWAY:
            assert Underway(setup_at(kept_files), artifacts, Attempt(TRIAL, 2)).found() is None
    finally:
        path.write_bytes(whole)
    found = Underway(setup_at(kept_files), artifacts, Attempt(TRIAL, 2)).found()
    assert found is not None
    assert (found.seconds, found.state.epoch, dict(found.state.record)) == (1.5, 2, {"seed": 3})
