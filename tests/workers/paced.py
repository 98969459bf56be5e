"""A training that stops in the middle of its epochs until it may go on, and says where it is; every epoch is kept.

For worker processes: what this changes of the package does not concern the process of a test.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from search_spaces.decisions import Decisions
from search_spaces.space import Signature
from workers import underway
from workers.objectives import Objective
from workers.task import Epoch, State, Task
from workers.tasks.image_classification import ImageClassification
from workers.trial import Trial


@final
@dataclass(frozen=True)
class Paced(Task):
    """Digits; in the second batch of epoch N it waits for a file `pass-N` or `go` in `gates`."""

    gates: str
    epochs: int = 4

    @cached_property
    def inner(self) -> ImageClassification:
        return ImageClassification(train_examples=96, validation_examples=50, batch_size=40, dropout=0.2)

    @property
    def decisions(self) -> Decisions:
        return self.inner.decisions

    @property
    def signature(self) -> Signature:
        return self.inner.signature

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.inner.objectives

    def prepare(self) -> None:
        """Before the first attempt of a worker: from its start on a state would be kept once a second only."""
        underway.PERIOD = underway.PATIENCE = 0.0

    def train(self, model: Any, trial: Trial, state: State | None) -> Iterator[Epoch]:
        batch, number = 0, 0 if state is None else state.epoch

        def pause(module: Any, inputs: Any) -> None:
            nonlocal batch
            batch += module.training
            if module.training and batch == 2:
                self.wait(trial.id, number)

        model.register_forward_pre_hook(pause)
        for epoch in self.inner.train(model, trial, state):
            batch, number = 0, number + 1
            yield epoch

    def wait(self, trial: int, epoch: int) -> None:
        gates = Path(self.gates)
        with (gates / "ledger").open("a") as ledger:
            ledger.write(json.dumps([trial, epoch, os.getpid()]) + "\n")
        while not ((gates / "go").exists() or (gates / f"pass-{epoch}").exists()):
            time.sleep(0.01)


def ledger(gates: Path) -> list[tuple[int, int, int]]:
    """Trial, epoch and process of every epoch that came to its middle, in order."""
    path = gates / "ledger"
    lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
    return [tuple(json.loads(line)) for line in lines]
