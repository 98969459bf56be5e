"""The table of trials: the best hundred as they stand, all of them to be sorted and leafed through."""

from __future__ import annotations

import json
from html import escape

from nas.history import TrialRecord
from nas.reports import facts
from nas.reports.page import Subject, arm_name, section
from workers.trial import Json

SHOWN = 100
METRICS = 4


def trials(subject: Subject) -> str:
    """Every trial, best first; without a script the first hundred."""
    records = list(subject.history.trials.values())
    metrics = _metrics(subject, records)
    rows = sorted((_row(record, metrics) for record in records), key=lambda row: _place(subject, row, metrics))
    won = facts.winner(subject.history)
    picked = won[0].trial.id if won else None
    head = ["trial", "arm", "outcome", *(name.replace("_", " ") for name in metrics), "epochs", "seconds", "candidate"]
    kinds = ["number", "", "", *("number" for _ in metrics), "number", "number", "long"]
    names = "".join(
        f'<th scope="col" class="{kind}"><button type="button">{escape(name)}</button></th>'
        for name, kind in zip(head, kinds, strict=True)
    )
    lines = "".join(_line(row, kinds, row[0] == picked) for row in rows[:SHOWN])
    data = json.dumps({"rows": rows, "kinds": kinds, "picked": picked}, separators=(",", ":"), ensure_ascii=False)
    body = (
        f'<div class="wide"><table id="table"><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table></div>'
        '<div class="more" id="more" hidden><button type="button" id="back">Back</button>'
        '<button type="button" id="next">Next</button><span id="shown"></span></div>'
        f'<script type="application/json" id="trials">{_harmless(data)}</script>'
    )
    said = f"{len(rows)} trials, best first; a click on a heading sorts." + (
        f" Without a script only {SHOWN} are shown." if len(rows) > SHOWN else ""
    )
    return section("Trials", body, said, kind="trials")


def _metrics(subject: Subject, records: list[TrialRecord]) -> list[str]:
    """The objectives first, then what else was measured, as far as there is room."""
    found = dict.fromkeys(objective.metric for objective in subject.objectives)
    for record in records:
        found |= dict.fromkeys(record.result.metrics if record.result else ())
    measured = {name for record in records if record.result for name in record.result.metrics}
    return [name for name in found if name in measured and not name.startswith("test_")][:METRICS]


def _row(record: TrialRecord, metrics: list[str]) -> list[Json]:
    result = record.result
    known = result.metrics if result else {}
    state = str(result.outcome) if result else "running" if record.running else "waiting"
    values = [_finite(known.get(name)) for name in metrics]
    candidate = ", ".join(f"{name}={value}" for name, value in record.trial.candidate.items())
    seconds = round(record.seconds, 2) if result else None
    return [
        record.trial.id,
        arm_name(record.arm),
        state,
        *values,
        result.epochs if result else None,
        seconds,
        candidate,
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and value - value == 0 else None


def _place(subject: Subject, row: list[Json], metrics: list[str]) -> tuple[bool, float, int]:
    main = subject.main
    value = row[3] if main is not None and metrics and metrics[0] == main.metric else None
    return value is None, -main.gain(value) if main is not None and value is not None else 0.0, row[0]


def _line(row: list[Json], kinds: list[str], picked: bool) -> str:
    cells = "".join(f'<td class="{kind}">{escape(_said(value))}</td>' for value, kind in zip(row, kinds, strict=True))
    return f'<tr class="picked">{cells}</tr>' if picked else f"<tr>{cells}</tr>"


def _said(value: Json) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _harmless(data: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
