"""Where a search stands, as plain JSON: what `nas status`, `trials` and `compare` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from nas.history import APART, History, TrialRecord
from nas.live import Goal
from nas.ranking import gains, ranked
from nas.wrappers.rescore import last_round
from workers.errors import UserError
from workers.objectives import Direction, Objective
from workers.trial import Json

if TYPE_CHECKING:
    from nas.log import Header


def objectives(job: Mapping[str, Json]) -> tuple[Objective, ...]:
    """The objectives that a recorded job names."""
    return tuple(Objective(one["metric"], Direction(one["direction"])) for one in job.get("objectives") or ())


def standing(header: Header, history: History, counted: Mapping[str, int] | None = None) -> dict[str, Json]:
    """A search as one record: its state, its counts, its best; times in seconds since the epoch.

    `counted` are the counts where the history has not all trials.
    """
    goals = objectives(header.job)
    return {
        **overview(header),
        "driver": {"host": header.driver_host, "pid": header.driver_pid, "heartbeat": header.heartbeat},
        "seconds": history.worked,
        "budget": budget(header, history),
        "objectives": [{"metric": goal.metric, "direction": str(goal.direction)} for goal in goals],
        "trials": counts(history.searched()) if counted is None else dict(counted),
        "best": [trial(one) for one in best(history, goals)],
        "baseline": [trial(one) for one in best(history, goals, arm="baseline")],
        "rescored": [trial(one) for one in rescored(history, goals)],
        "final": [trial(one) for one in history.trials.values() if one.arm in APART],
        "notes": [str(note.body.get("text", "")) for note in history.notes],
    }


def budget(header: Header, history: History) -> dict[str, Json]:
    """The limits of a search as they are now, after every change that was asked for."""
    limits = dict(header.job.get("budget") or {})
    for request in history.requests:
        if request.body["kind"] == "extend":
            limits |= request.body.get("budget") or {}
    return limits


def goal(search: str, job: Mapping[str, Json], spent: float = 0.0) -> Goal:
    """What a view of a running search measures it by; `spent` are the seconds that earlier drivers took."""
    limits = job.get("budget") or {}
    seconds = limits.get("seconds")
    return Goal(search, objectives(job), limits.get("trials"), None if seconds is None else max(0.0, seconds - spent))


def overview(header: Header) -> dict[str, Json]:
    """What is known of a search without reading its trials."""
    return {
        "search": header.search,
        "name": header.job.get("name"),
        "state": state(header),
        "reason": header.reason,
        "created": header.created,
        "task": _name(header.job.get("task")),
        "space": _name(header.job.get("space")),
        "strategy": _name(header.job.get("strategy")),
        "seed": header.job.get("seed"),
        "weights": (header.job.get("weights") or {}).get("sharing", "own"),
    }


def state(header: Header) -> str:
    """The state of a search; `abandoned` where it says that it runs, but has no driver."""
    return "abandoned" if header.state == "running" and not header.driven() else header.state


def counts(records: Sequence[TrialRecord]) -> dict[str, int]:
    """How many trials were asked, run now, wait to be issued (again), and ended in each outcome."""
    ended = Counter(str(record.result.outcome) for record in records if record.result is not None)
    running = sum(record.running for record in records)
    waiting = len(records) - running - sum(ended.values())
    return {"asked": len(records), "running": running, "waiting": waiting, **dict(sorted(ended.items()))}


def best(history: History, goals: Sequence[Objective], count: int = 1, arm: str | None = None) -> list[TrialRecord]:
    """The best completed trials, best first; with several objectives the whole Pareto front."""
    if len(goals) == 1:
        return history.best(goals[0], count, arm)
    return history.front(goals, arm) if goals else []


def rescored(history: History, goals: Sequence[Objective]) -> list[TrialRecord]:
    """What was scored again with the shared weights of the end, the best first."""
    again = last_round(record.trial for record in history.trials.values() if record.completed)
    found = [history.trials[one.id] for one in again]
    return ranked(found, lambda one: one.result.metrics if one.result else {}, goals) if goals else []


def trial(record: TrialRecord) -> dict[str, Json]:
    """A trial as one record; before it ends, `metrics` and `epochs` are those of its last report."""
    result = record.result
    epoch, metrics = record.curve[-1] if record.curve else (0, {})
    return {
        "trial": record.trial.id,
        "arm": record.arm,
        "state": trial_state(record),
        "metrics": dict(result.metrics if result else metrics),
        "epochs": result.epochs if result else epoch,
        "planned_epochs": record.trial.epochs,
        "seconds": record.seconds if result else None,
        "attempts": record.attempts,
        "parent": record.trial.parent,
        "error": result.error if result else None,
        "asked_at": record.asked_at,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "candidate": dict(record.trial.candidate),
    }


def trial_state(record: TrialRecord) -> str:
    """The outcome of a trial that ended; `running` or `waiting` before that."""
    if record.result is not None:
        return str(record.result.outcome)
    return "running" if record.running else "waiting"


def _name(spec: Json) -> Json:
    return spec.get("name") if isinstance(spec, dict) else spec


def sorted_by(records: Sequence[dict[str, Json]], name: str, goals: Sequence[Objective]) -> list[dict[str, Json]]:
    """Trial records by a metric, the best first (the largest, unless an objective says so), those without it last."""
    known = sorted({metric for record in records for metric in record["metrics"]})
    if records and name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"no trial has the metric {name!r}: {hint}there are {', '.join(known) or 'none yet'}")
    goal = next((goal for goal in goals if goal.metric == name), Objective(name, Direction.MAXIMIZE))
    have = [record for record in records if gains(record["metrics"], (goal,)) is not None]
    lack = [record for record in records if gains(record["metrics"], (goal,)) is None]
    return sorted(have, key=lambda record: -goal.gain(record["metrics"][name])) + lack
