"""The outcome of a training that workers shared, as exporters take it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nas.architecture import Architecture
from nas.exporter import Winner
from nas.history import TrialRecord
from nas.versions import versions
from nas.winner import handed_over
from search_spaces.space import Space
from workers.data_parallel.parallel_training import ParallelTraining
from workers.data_parallel.tally import Tally
from workers.device import device_name
from workers.objectives import Outcome
from workers.task import Epoch, State, Task
from workers.trial import Json, Result, Trial

if TYPE_CHECKING:
    from torch import nn


def winner_of(
    architecture: Architecture,
    training: ParallelTraining,
    space: Space,
    task: Task,
    trained: tuple[nn.Module, State],
    history: tuple[Tally, str],
) -> Winner:
    """The network as it came out, scored on the validation part and, once, on the test set.

    `trained` is the model with its state, `history` what happened and what it began with.
    """
    (model, state), (tally, start), trial = trained, history, training.trial
    blueprint, prefix = handed_over(space, task, trial.candidate)
    scored = _scored(task, model, state, replace(trial, split="validation"))
    tested = _scored(task, model, state, replace(trial, split="test"))
    metrics = {**scored.metrics, **{name: v for name, v in tested.metrics.items() if name.startswith("test_")}}
    device = device_name(getattr(task, "device", "auto"))
    result = Result(
        trial.id, 1, Outcome.COMPLETED, dict(scored.metrics), trial.epochs, tally.seconds, device=device
    )  # its checkpoint is the export itself
    record = TrialRecord(trial, asked_at=0.0, attempts=1, result=result, seconds=tally.seconds)
    return Winner(
        search=architecture.search,
        job={"task": training.setup.task, "space": training.setup.space, "folder": training.setup.folder},
        record=record,
        candidate=trial.candidate,
        task=task,
        model=model.cpu().eval(),
        deployed=task.deployable(model, trial.candidate),
        state=state,
        space=space,
        blueprint=blueprint,
        prefix=prefix,
        description=space.describe(trial.candidate, task.signature),
        metrics=metrics,
        costs=architecture.costs,
        examples=tested.examples,
        versions=versions(),
        training=training_record(training, tally, start),
    )


def training_record(training: ParallelTraining, tally: Tally, start: str) -> dict[str, Json]:
    """How the network was trained, for `architecture.json`."""
    return {
        "epochs": training.trial.epochs,
        "workers": training.workers,
        "backup": training.backup,
        "mode": training.mode,
        "bound": training.staleness if training.mode == "bounded" else None,
        "start": start,
        "shards": training.shards,
        "pushes": len(tally.learned),
        "repeated": tally.repeated,
        "replaced": tally.replaced,
        "staleness": {str(missed): count for missed, count in tally.staleness.items()},
        "examples": tally.examples,
        "seconds": round(tally.seconds, 3),
        "examples_per_second": round(tally.examples / tally.seconds, 1) if tally.seconds else None,
        "losses": [tally.loss(epoch) for epoch in range(training.trial.epochs)],
    }


def _scored(task: Task, model: nn.Module, state: State, trial: Trial) -> Epoch:
    *_, last = task.train(model, trial, state)
    return last
