"""Report: what a search did and found, as one HTML file that needs nothing else."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nas.history import History
from nas.log import Header, Log
from nas.plan import Plan
from nas.remote.kept import on_this_machine
from nas.reports import facts, sections
from nas.reports.exhibits import collected, exhibits
from nas.reports.page import Exhibit, Subject, page
from nas.reports.trials import trials
from nas.versions import versions
from search_spaces.space import Description
from workers.artifacts import Artifacts
from workers.errors import UserError
from workers.objectives import Direction, Objective


def report(log: Log, search: str, path: str | Path) -> Path:
    """Write the report of `search` to `path`, whole or not at all, and return it."""
    header = log.header(search)
    with suppress(UserError):  # without them the journal is all there
        header = replace(header, job=on_this_machine(log, header))
    history = History.of(log.entries(search))
    file = Path(path).expanduser().absolute()
    text = written(subject_of(header, history))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except OSError as error:
        raise UserError(f"the report cannot be written to {file}: {error.strerror or error}") from error
    return file


def written(subject: Subject) -> str:
    """The report as a text."""
    parts = [
        sections.headline(subject),
        sections.progress(subject),
        sections.trade(subject),
        sections.surrogate(subject),
        exhibits(subject),
        sections.drawings(subject),
        sections.costs(subject),
        sections.failures(subject),
        sections.settings(subject),
        trials(subject),
    ]
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    made = f"Written by Cellwright {versions().get('cellwright', '')} on {now}."
    return page(subject, [part for part in parts if part], made)


def subject_of(header: Header, history: History) -> Subject:
    """What the report needs beside the journal: the objectives, and the networks of the best."""
    objectives = tuple(
        Objective(str(one["metric"]), Direction(one["direction"]))
        for one in header.job.get("objectives") or ()
        if one.get("direction")
    )
    try:
        return _described(header, history, objectives)
    except Exception as error:  # a space or a task of the user's own may be gone by now; the journal is all there
        return Subject(header, history, objectives, trouble=f"{type(error).__name__}: {error}")


def _described(header: Header, history: History, objectives: tuple[Objective, ...]) -> Subject:
    from nas.job import Job
    from nas.jobfile.plugins import beside

    job = Job.parse(header.job)
    plan = Plan.of(job, header.search)
    objectives = objectives or plan.objectives
    won = facts.winner(history)
    best = facts.best_of(history, objectives, sections.DRAWN)
    chosen = {record.trial.id: record for record in [*([won[0]] if won else []), *best]}
    described: dict[int, Description] = {}
    seen: set[object] = set()
    with beside(job.folder):
        for trial, record in chosen.items():
            key = plan.setting.canonical(record.trial.candidate)
            if plan.space is not None and key not in seen:
                seen.add(key)
                described[trial] = plan.space.describe(record.trial.candidate, plan.task.signature)
    made = _made(plan, header, history, objectives)
    return Subject(header, history, objectives, described, exhibits=made, measured=plan.task.measured)


def _made(plan: Plan, header: Header, history: History, objectives: tuple[Objective, ...]) -> tuple[Exhibit, ...]:
    """What the winner's training and its test left, else what the best trial's did; nothing where files are gone."""
    chosen = facts.winner(history) or facts.best_of(history, objectives, 1)
    attempts = {record.trial.id: record.result.attempt for record in chosen if record.result is not None}
    try:
        return collected(Artifacts.open(plan.artifacts), header.search, attempts)
    except (OSError, UserError):
        return ()
