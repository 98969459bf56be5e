"""Trials, notes and requests of a standing as JSON, and back: what no driver writes is an error, not a crash later."""

from __future__ import annotations

from nas.history import Entry, TrialRecord
from nas.kinds import finite, flag, number, row, seconds, table, text, whole
from workers.trial import Json, Result, Trial

SPLITS = ("validation", "test")


def written_entry(entry: Entry) -> list[Json]:
    """An entry as it is."""
    return [entry.sequence, entry.time, entry.kind, entry.trial, dict(entry.body)]


def read_entry(said: Json, kind: str) -> Entry:
    """What `written_entry` gave of an entry of this kind; raises `ValueError` for anything else."""
    sequence, time, named, trial, body = row(said, 5)
    if named != kind:
        raise ValueError(f"a {kind} was expected")
    return Entry(whole(sequence), seconds(time), kind, None if trial is None else whole(trial), table(body))


def read_extension(said: Json) -> Entry:
    """What `written_entry` gave of a request to extend; raises `ValueError` or `KeyError` for anything else."""
    found = read_entry(said, "request")
    if found.body["kind"] != "extend":
        raise ValueError("a request to extend was expected")
    for limit in table(found.body.get("budget") or {}).values():
        if limit is not None:
            finite(limit)
    return found


def written(one: TrialRecord) -> list[Json]:
    """A record without attempts and what they took of the pool, which nobody asks a standing for."""
    times = [one.asked_at, one.started_at, one.ended_at, one.seconds, one.device_seconds]
    result = None if one.result is None else one.result.json()
    return [one.trial.json(), one.attempts, one.running, one.losses, times, one.curve[-1:], result]


def read(said: Json) -> TrialRecord:
    """What `written` gave; raises `ValueError`, `KeyError` or `TypeError` for anything else."""
    trial, attempts, running, losses, times, curve, result = row(said, 7)
    asked_at, started_at, ended_at, spent, device_seconds = row(times, 5)
    found = TrialRecord(
        _trial(trial),
        seconds(asked_at),
        attempts=whole(attempts),
        running=flag(running),
        started_at=None if started_at is None else seconds(started_at),
        ended_at=None if ended_at is None else seconds(ended_at),
        losses=whole(losses),
        seconds=seconds(spent),
        device_seconds=seconds(device_seconds),
        curve=[(whole(epoch), _metrics(metrics)) for epoch, metrics in row(curve)],
        result=None if result is None else _result(result),
    )
    if found.result is not None and (found.running or found.result.trial_id != found.trial.id):
        raise ValueError(f"trial {found.trial.id} runs and is over, or is another one")
    return found


def _trial(said: Json) -> Trial:
    found = Trial.from_json(table(said))
    for value in table(said["candidate"]).values():
        if not isinstance(value, str):
            number(value)
    for value in (found.id, found.epochs, found.horizon, 0 if found.parent is None else found.parent):
        whole(value)
    if type(found.seed) is not int or found.split not in SPLITS:
        raise ValueError(f"trial {found.id} has no seed, or an unknown split")
    number(found.seed)
    for value in (found.shared, found.heir):
        flag(value)
    if text(table(found.note).get("arm", "")) == "rescore":
        whole(found.note["round"])
    return found


def _result(record: Json) -> Result:
    found = Result.from_json(table(record))
    for count in (found.trial_id, found.attempt, found.epochs, found.peak_bytes):
        whole(count)
    for spent in (found.seconds, found.device_seconds):
        seconds(spent)
    for said in (found.error or "", found.checkpoint or "", found.device):
        text(said)
    _metrics(found.metrics)
    return found


def _metrics(said: Json) -> dict[str, float]:
    return {name: number(value) for name, value in table(said).items()}
