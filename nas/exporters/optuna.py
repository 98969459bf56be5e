"""Optuna: a whole search as a study, which Optuna's own functions and optuna-dashboard open."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from nas.exporter import SearchExporter
from nas.history import APART, Entry, History, TrialRecord
from nas.recorded import current_plan
from nas.strict import strict
from nas.summary import state
from search_spaces.decision import Choice, Decision
from workers.errors import UserError
from workers.objectives import Objective, Outcome

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from nas.log import Log

CONSTRAINTS = "constraints"  # the attribute by which Optuna and its dashboard know what is infeasible


@final
class OptunaStudy(SearchExporter):
    """Writes the file of a journal storage, for `optuna-dashboard FILE` or `JournalStorage(JournalFileBackend(FILE))`.

    The study has the search's name, objectives and directions; its trials those of the search, without looks at
    untrained networks, the retraining and the test. A trial has the decisions that were active in it, each with its
    distribution, the values of the objectives, the first objective by epoch where there is but one, and when it began
    and ended. What completed is COMPLETE, a rung that was not trained to the end PRUNED, what failed FAIL; what was
    infeasible breaks a constraint, and is FAIL where it has no values. Other metrics, the arm, epochs, seconds,
    attempts, the error and our own number of the trial are user attributes.
    """

    suffix = ".optuna.log"

    def export(self, log: Log, search: str, path: Path) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.study import StudyDirection

        from nas.samplers.quiet import quiet

        header = log.header(search)
        plan = current_plan(log, search)
        history = History.of(log.entries(search))
        if (stands := state(header)) == "abandoned":  # what ran waits to be issued again
            last = history.last_at or header.heartbeat
            history.feed(Entry(0, last, "state", None, {"state": stands, "reason": header.reason}))
        distributions = {name: _distribution(one) for name, one in plan.setting.decisions.items()}
        refuse_foreign(path)
        with quiet():
            lines = _lines()
            study = optuna.create_study(
                storage=JournalStorage(lines),
                study_name=search,
                directions=[StudyDirection[objective.direction.name] for objective in plan.objectives],
            )
            study.set_metric_names([objective.metric for objective in plan.objectives])
            told = {"state": stands, "reason": header.reason, "seed": plan.job.seed, "versions": header.versions}
            for name, value in told.items():
                study.set_user_attr(name, strict(value))
            for record in history.trials.values():
                if record.arm not in APART and not record.trial.proxy:
                    study.add_trial(_trial(record, distributions, plan.objectives))
        fresh = path.with_name(f".{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text("".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines.written))
            fresh.replace(path)
        except OSError as error:
            raise UserError(f"the study cannot be written to {path}: {error.strerror or error}") from error


def refuse_foreign(path: Path) -> None:
    """Raise UserError where at `path` is anything but a study that was written before."""
    if not path.exists() and not path.is_symlink():
        return
    try:
        with path.open(encoding="utf-8") as stream:
            record = json.loads(stream.readline())
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or "op_code" not in record:
        raise UserError(f"{path} is there already and no study of Optuna: name another file with --output")


def _lines() -> Any:
    """A backend of Optuna's journal that keeps the lines: its own would wait for the disk at each."""
    from optuna.storages.journal import BaseJournalBackend

    class Lines(BaseJournalBackend):
        def __init__(self) -> None:
            self.written: list[dict[str, Any]] = []

        def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
            return self.written[log_number_from:]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            self.written.extend(logs)

    return Lines()


def _distribution(decision: Decision) -> BaseDistribution:
    """A range is a number, a choice categorical: people read its options, not their places."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(decision, Choice):
        return CategoricalDistribution(decision.options)
    if decision.integer:
        return IntDistribution(int(decision.low), int(decision.high), log=decision.log)
    return FloatDistribution(decision.low, decision.high, log=decision.log)


def _trial(
    record: TrialRecord, distributions: Mapping[str, BaseDistribution], objectives: tuple[Objective, ...]
) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    values = _values(record, objectives)
    infeasible = record.result is not None and record.result.outcome is Outcome.INFEASIBLE
    if record.result is None:
        stands = TrialState.RUNNING if record.running else TrialState.WAITING
    elif values is None:
        stands = TrialState.FAIL
    else:
        stands = TrialState.COMPLETE if record.full or infeasible else TrialState.PRUNED
    steps = {} if len(objectives) > 1 else _course(record, objectives[0])
    trial = create_trial(
        state=stands,
        values=values if stands in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        params=dict(record.trial.candidate),
        distributions={name: distributions[name] for name in record.trial.candidate},
        user_attrs=_attributes(record, objectives),
        system_attrs={} if record.result is None else {CONSTRAINTS: [1.0 if infeasible else -1.0]},
        intermediate_values=steps,
    )
    began = record.started_at if record.started_at is not None else record.asked_at
    trial.datetime_start = None if stands == TrialState.WAITING else datetime.fromtimestamp(began)
    trial.datetime_complete = None if record.ended_at is None else datetime.fromtimestamp(record.ended_at)
    return trial


def _values(record: TrialRecord, objectives: tuple[Objective, ...]) -> list[float] | None:
    """The values of all objectives; None unless each is there and a number."""
    if record.result is None or record.result.outcome is Outcome.FAILED:
        return None
    found = [record.result.metrics.get(objective.metric, math.nan) for objective in objectives]
    return [float(value) for value in found] if all(map(math.isfinite, found)) else None


def _course(record: TrialRecord, objective: Objective) -> dict[int, float]:
    found = {epoch: metrics.get(objective.metric, math.nan) for epoch, metrics in record.curve}
    return {epoch: float(value) for epoch, value in found.items() if math.isfinite(value)}


def _attributes(record: TrialRecord, objectives: tuple[Objective, ...]) -> dict[str, Any]:
    result = record.result
    told = {"trial": record.trial.id, "arm": record.arm, "attempts": record.attempts, "seconds": record.seconds}
    if record.trial.parent is not None:
        told["parent"] = record.trial.parent
    if result is not None:
        told |= {"outcome": str(result.outcome), "epochs": result.epochs}
        told |= {"error": result.error} if result.error else {}
        wanted = {objective.metric for objective in objectives}
        told |= {name: value for name, value in result.metrics.items() if name not in wanted and name not in told}
    found: dict[str, Any] = strict(told)
    return found
