from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces.space import Signature
from workers.latency import RUNS, WARM_UP, DeviceLock, latency


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[torch.Size] = []
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        self.shapes.append(images.shape)
        answer: torch.Tensor = self.norm(images)
        return answer


def test_latency_is_of_one_example_in_evaluation_mode() -> None:
    model = Counted()
    seconds = latency(model, Signature("image_classification", {"image": (3, 4, 4)}), torch.device("cpu"))
    assert 0 < seconds < 1
    assert set(model.shapes) == {torch.Size((1, 3, 4, 4))}
    assert WARM_UP + RUNS[0] <= len(model.shapes) <= WARM_UP + RUNS[1]
    assert model.training
    assert int(model.norm.num_batches_tracked) == 0  # type: ignore[arg-type]


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_training_shares_and_measuring_does_not(tmp_path: Path) -> None:
    """Two train at once; who measures waits for both; who trains next waits for who measures: no starvation."""
    lock = DeviceLock("cpu", tmp_path)
    events: list[str] = []
    both, release, measuring, measured = threading.Barrier(3), threading.Event(), threading.Event(), threading.Event()

    def train() -> None:
        with DeviceLock("cpu", tmp_path).shared():
            both.wait(30)  # is only passed if two are inside at once
            release.wait(30)
            events.append("trained")

    def measure() -> None:
        with DeviceLock("cpu", tmp_path).alone():
            events.append("measured")
            measuring.set()
            measured.wait(30)

    def train_later() -> None:
        with DeviceLock("cpu", tmp_path).shared():
            events.append("trained later")

    trainers = [started(train), started(train)]
    both.wait(30)
    measurer = started(measure)
    while not _held(lock.turn_file):  # until who measures stands in the queue
        pass
    later = started(train_later)
    assert events == []
    release.set()
    assert measuring.wait(30)
    assert events == ["trained", "trained", "measured"]
    measured.set()
    for thread in (*trainers, measurer, later):
        thread.join(30)
    assert events[-1] == "trained later"


def _held(file: Path) -> bool:
    import fcntl

    with file.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_devices_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with DeviceLock("cuda:0", tmp_path).alone(), DeviceLock("cpu", tmp_path).alone():
        pass


def test_a_lock_ends_with_its_block(tmp_path: Path) -> None:
    lock = DeviceLock("cpu", tmp_path)
    with pytest.raises(ZeroDivisionError), lock.alone():
        raise ZeroDivisionError
    with lock.alone():
        pass
    with lock.shared(), lock.shared():
        pass
