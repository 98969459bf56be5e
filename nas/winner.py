"""The winner of a search: which trial it is, and its network with the trained weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.exporter import Winner
from nas.history import History, TrialRecord
from nas.jobfile.plugins import beside
from nas.log import Log
from nas.recorded import current_plan
from nas.versions import versions
from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Space
from workers.artifacts import Artifacts
from workers.child import EXAMPLES
from workers.errors import DamagedError, NotFoundError, UserError
from workers.lineage import network_of
from workers.task import State, Task

if TYPE_CHECKING:
    from torch import Tensor, nn


def tested(history: History) -> TrialRecord | None:
    """The trial that read the test set, the last one where the search was extended; None before that."""
    tests = [record for record in history.trials.values() if record.arm == "test" and record.completed]
    return tests[-1] if tests else None


def trained(history: History, search: str, trial: int | None = None) -> tuple[TrialRecord, TrialRecord | None]:
    """The trial whose weights are exported, and the test of just these weights if there was one."""
    test = tested(history)
    if trial is None:
        if test is None or test.trial.parent not in history.trials:
            if not any(record.completed for record in history.trials.values()) and history.state == "failed":
                raise UserError(
                    f"no trial of {search} has completed, so there is nothing to export: `nas trials {search}`"
                )
            raise UserError(
                f"{search} is {history.state} and has no tested winner yet: `nas resume {search}` finishes it"
                + _exportable(history, search)
            )
        trial = test.trial.parent
    record = history.trials.get(trial)
    if record is None:
        raise NotFoundError(f"{search} has no trial {trial}: `nas trials {search}` lists them")
    if record.arm == "test" and record.trial.parent in history.trials:
        test, record = record, history.trials[record.trial.parent]
    if record.result is None or record.result.checkpoint is None:
        state = "has not ended"
        if record.result is not None:
            why = f" ({record.result.error})" if record.result.error else ""
            state = f"ended as {record.result.outcome} without a checkpoint{why}"
        raise UserError(
            f"trial {trial} of {search} {state}, so there is nothing to export" + _exportable(history, search)
        )
    return record, test if test is not None and test.trial.parent == record.trial.id else None


def find_winner(log: Log, search: str, trial: int | None = None) -> Winner:
    """The winner of `search`, or its trial `trial`, with the weights of its checkpoint, in evaluation mode."""
    header = log.header(search)
    history = History.of(log.entries(search))
    plan = current_plan(log, search)
    job, space = plan.job, plan.space
    if space is None:
        raise UserError(
            f"{search} has no search space: its task trains what it builds itself, so there is no network to export; "
            f"`nas best {search}` shows the settings that it found"
        )
    record, test = trained(history, search, trial)
    candidate = record.trial.candidate
    with beside(job.folder):
        blueprint, prefix = handed_over(space, plan.task, candidate)
        model = network_of(space, plan.task, candidate)
        artifacts = Artifacts.open(plan.artifacts)
        state = _state(artifacts, history, search, record)
        _restore(model, state, record)
        return Winner(
            search=search,
            job=job.json(),
            record=record,
            candidate=candidate,
            task=plan.task,
            model=model,
            deployed=plan.task.deployable(model, candidate),
            state=state,
            space=space,
            blueprint=blueprint,
            prefix=prefix,
            description=space.describe(candidate, plan.task.signature),
            metrics=metrics(record, test),
            costs=costs(history),
            examples=_examples(artifacts, search, test),
            training={"epochs": record.trial.epochs},
            versions={**versions(), **{f"search {name}": v for name, v in header.versions.items() if differs(name, v)}},
        )


def differs(name: str, version: str) -> bool:
    """Whether the search ran with another version than this process."""
    return versions().get(name) != version


def adapted(space: Space, task: Task, candidate: Candidate) -> Blueprint | None:
    """The network as data, None where the space overrides `build` or has no blueprint."""
    if type(space).build is not Space.build:
        return None
    return task.adapt(space.blueprint(candidate, task.signature), candidate)


def handed_over(space: Space, task: Task, candidate: Candidate) -> tuple[Blueprint | None, str]:
    """The part of the network that an export has the source of, as data, and the prefix of its weights."""
    whole = adapted(space, task, candidate)
    return (None, "") if whole is None else task.part(whole)


def metrics(record: TrialRecord, test: TrialRecord | None) -> dict[str, float]:
    """What was measured of the weights: on validation, and on the test set if they were tested."""
    found = dict(record.result.metrics) if record.result else {}
    measured = test.result.metrics if test is not None and test.result is not None else {}
    return {**found, **{name: value for name, value in measured.items() if name.startswith("test_")}}


def costs(history: History) -> dict[str, float]:
    """What all trials of a search took together."""
    ended = [record for record in history.trials.values() if record.result is not None]
    results = [record.result for record in ended if record.result is not None]
    return {
        "trials": float(len(ended)),
        "epochs": float(sum(result.epochs for result in results)),
        "device_seconds": sum(result.device_seconds or result.seconds for result in results),
        "seconds": history.busy(),
    }


def _state(artifacts: Artifacts, history: History, search: str, record: TrialRecord) -> State:
    from workers import checkpoint

    assert record.result is not None
    assert record.result.checkpoint is not None
    try:
        content = artifacts.get(search, record.trial.id, record.result.attempt, record.result.checkpoint)
        return checkpoint.load(content)
    except DamagedError as error:
        raise DamagedError(f"{error}{_exportable(history, search, besides=record.trial.id)}") from error
    except NotFoundError as error:
        raise UserError(
            f"the checkpoint of trial {record.trial.id} is gone from {artifacts.place} (moved, or removed once nothing "
            f"referred to it)" + _exportable(history, search, besides=record.trial.id)
        ) from error


def _restore(model: nn.Module, state: State, record: TrialRecord) -> None:
    from workers import checkpoint

    try:
        model.load_state_dict(checkpoint.weights(state))
    except RuntimeError as error:
        raise UserError(
            f"the checkpoint of trial {record.trial.id} does not fit the network that its space builds now: the space "
            f"has changed since the search ran ({str(error).splitlines()[0]})"
        ) from error
    model.eval()


def _examples(artifacts: Artifacts, search: str, test: TrialRecord | None) -> dict[str, Tensor]:
    from safetensors.torch import load

    if test is None or test.result is None:
        return {}
    try:
        return dict(load(artifacts.get(search, test.trial.id, test.result.attempt, EXAMPLES)))
    except NotFoundError:
        return {}


def _exportable(history: History, search: str, besides: int | None = None) -> str:
    """The remedy: which trials can be exported by number."""
    gone = {(trial, name) for (trial, _, name), body in history.artifacts.items() if body.get("deleted")}
    kept = [
        record.trial.id
        for record in history.trials.values()
        if record.result is not None
        and record.result.checkpoint is not None
        and (record.trial.id, record.result.checkpoint) not in gone
        and record.trial.id != besides
        and record.arm != "test"
    ]
    if not kept:
        return ""
    shown = ", ".join(map(str, kept[:8])) + (", ..." if len(kept) > 8 else "")
    return f"; `nas export {search} --trial N` exports one whose checkpoint is kept: {shown}"
