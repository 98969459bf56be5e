"""Latency measured alone on the device: training shares a lock that a measurement takes for itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    import torch
    from torch import nn

    from search_spaces.space import Signature

WARM_UP = 3
RUNS = (10, 200)  # at least, at most
SECONDS = 0.3


@final
class DeviceLock:
    """One device, shared by those who train and held alone by who measures; for all processes of a user on a machine.

    Two file locks, which the system releases when a process dies. Everybody passes through `turn` first: who measures
    holds it while waiting for the device, so that no new training comes in between, and is never starved.
    """

    def __init__(self, device: str, folder: Path | None = None) -> None:
        name = f"cellwright-{os.getuid()}-{device.replace(':', '-')}"
        self.folder = folder or Path(tempfile.gettempdir())
        self.turn_file, self.device_file = self.folder / f"{name}.turn", self.folder / f"{name}.device"

    @classmethod
    def of(cls, device: torch.device) -> DeviceLock:
        """The lock of a device; two processes may each call another GPU `cuda:0`, so a GPU goes by its own identity."""
        if device.type != "cuda":
            return cls(str(device))
        import torch

        return cls(f"cuda-{getattr(torch.cuda.get_device_properties(device), 'uuid', device.index or 0)}")

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the device together with others, as for an epoch of training."""
        with _locked(self.turn_file, fcntl.LOCK_EX) as turn, _locked(self.device_file, fcntl.LOCK_SH):
            fcntl.flock(turn, fcntl.LOCK_UN)
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the device alone, as for a measurement."""
        with _locked(self.turn_file, fcntl.LOCK_EX), _locked(self.device_file, fcntl.LOCK_EX):
            yield


def latency(model: nn.Module, signature: Signature, device: torch.device) -> float:
    """Median seconds of a forward pass for one example (batch of 1) in evaluation mode."""
    import torch

    from search_spaces.inputs import blank

    inputs = blank(signature, 1, device)
    was_training = model.training
    model.eval().to(device)
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(WARM_UP):
            model(*inputs)
        begun = time.perf_counter()
        while len(times) < RUNS[0] or (len(times) < RUNS[1] and time.perf_counter() - begun < SECONDS):
            _settle(device)
            started = time.perf_counter()
            model(*inputs)
            _settle(device)
            times.append(time.perf_counter() - started)
    model.train(was_training)
    return statistics.median(times)


def _settle(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def _locked(file: Path, kind: int) -> Iterator[int]:
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, kind)
        yield handle
    finally:
        os.close(handle)
