"""A trial that writes into a ledger when it starts and when it has finished; what it learns depends on nothing else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from search_spaces.decision import Choice, Range
from search_spaces.decisions import Decisions
from search_spaces.space import Signature
from workers.objectives import Direction, Objective
from workers.task import Epoch, State, Task
from workers.trial import Trial


def score(candidate: Mapping[str, Any]) -> float:
    """What a candidate is worth."""
    if "x" not in candidate:
        return -float(sum(candidate.values()))
    return -float((candidate["x"] - 3) ** 2 + candidate["y"])


@dataclass(frozen=True)
class Paused(Task):
    """Takes once, twice or three times `seconds` for a trial, and appends to the file `ledger`.

    Of unequal length, so that the slots do not fall into step: something is in flight when the driver acts.
    """

    ledger: str
    seconds: float = 0.05

    signature = Signature("function")
    objectives = (Objective("score", Direction.MAXIMIZE),)
    epochs = 1

    def train(self, model: Any, trial: Trial, state: State | None) -> Iterator[Epoch]:
        append(self.ledger, "start", trial)
        time.sleep(self.seconds * (1 + trial.id % 3))
        append(self.ledger, "finish", trial)
        yield Epoch({"score": score(trial.candidate)})


@final
@dataclass(frozen=True)
class Ledgered(Paused):
    """Over two numbers."""

    decisions = Decisions({"x": Range(0, 10), "y": Range(0, 1000, integer=True)})


@final
@dataclass(frozen=True)
class Chosen(Paused):
    """Over choices, for a strategy that learns what to choose; there are enough to never come to an end."""

    decisions = Decisions({f"choice_{number}": Choice(tuple(range(8))) for number in range(16)})


@final
@dataclass(frozen=True)
class Kept(Task):
    """A training of some epochs whose state is kept after each: a walk by the candidate, which no step may miss."""

    ledger: str
    seconds: float = 1.0

    decisions = Ledgered.decisions
    signature = Signature("function")
    objectives = (Objective("score", Direction.MAXIMIZE),)
    epochs = 8

    def prepare(self) -> None:
        from workers import underway

        underway.PERIOD = underway.PATIENCE = 0.0  # in this process, which is a worker's

    def train(self, model: Any, trial: Trial, state: State | None) -> Iterator[Epoch]:
        import torch

        append(self.ledger, "start", trial)
        walk = torch.zeros(1000, dtype=torch.float64) if state is None else state.tensors["walk"]
        for epoch in range(1 if state is None else state.epoch + 1, self.epochs + 1):
            time.sleep(self.seconds / self.epochs)
            walk = walk * 0.5 + epoch
            whole = score(trial.candidate) if walk[0].item() == walk_after(epoch) else 1.0  # better than any is
            if epoch == self.epochs:
                append(self.ledger, "finish", trial)
            yield Epoch({"score": whole}, State(epoch, {"walk": walk}))


def walk_after(epochs: int) -> float:
    """Where `Kept` is after so many epochs; exact, for every number is a sum of few powers of two."""
    walk = 0.0
    for epoch in range(1, epochs + 1):
        walk = walk * 0.5 + epoch
    return walk


def append(ledger: str, what: str, trial: Trial) -> None:
    """One line, in one system call: no process can tear it, whatever is killed."""
    line = json.dumps([what, trial.id, os.getpid(), trial.candidate.json()]) + "\n"
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


@final
@dataclass(frozen=True)
class Line:
    """A line of the ledger."""

    what: str
    trial: int
    pid: int
    candidate: Mapping[str, Any]


def read(ledger: str | Path) -> list[Line]:
    """The ledger so far."""
    try:
        whole, _, _ = Path(ledger).read_text().rpartition("\n")  # the last line may still be on its way
    except FileNotFoundError:
        return []
    return [Line(*json.loads(line)) for line in whole.splitlines()]


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def in_flight(ledger: str | Path) -> list[Line]:
    """The starts whose process lives and has not finished them."""
    running: dict[int, Line] = {}
    for line in read(ledger):
        if line.what == "start":
            running[line.pid] = line
        else:
            running.pop(line.pid, None)
    return [line for line in running.values() if alive(line.pid)]
