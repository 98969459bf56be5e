"""Searches and trials as people read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from nas.cli.output import Json, pairs, table, write
from nas.quantities import count, counted, duration, metric, size

SHARED = "of children with shared weights, comparable within a moment; what is retrained has weights of its own"


def day(moment: float) -> str:
    """A time in seconds since the epoch, in the local time zone, to the minute."""
    return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")


def standing_lines(stands: Mapping[str, Json]) -> dict[str, str]:
    """What `nas status` prints: names and values."""
    reason = f" ({stands['reason']})" if stands["reason"] else ""
    lines = {
        "search": stands["search"],
        "state": f"{stands['state']}{reason}",
        "driver": _driver(stands),
        "job": ", ".join(
            f"{name} {stands[name]}" for name in ("task", "space", "strategy", "seed") if stands[name] is not None
        ),
        "started": f"{day(stands['created'])}, {duration(stands['seconds'])}",
        "trials": _counts(stands),
        "best": "\n".join(map(brief, stands["best"])) or _none(stands),
    }
    if stands["weights"] == "shared":
        lines["scores"] = SHARED
    if stands["rescored"]:
        lines["scored again"] = brief(stands["rescored"][0])
    if stands["baseline"]:
        lines["baseline"] = "\n".join(map(brief, stands["baseline"]))
    if stands["final"]:
        lines["final"] = "\n".join(map(brief, stands["final"]))
    if stands["notes"]:
        lines["notes"] = "\n".join(stands["notes"])
    if stands["state"] in ("abandoned", "interrupted", "stopped"):
        lines["next"] = f"nas resume {stands['search']}"
    elif stands["state"] == "finished":
        lines["next"] = f"nas export {stands['search']}" if stands["space"] else f"nas report {stands['search']}"
    return {name: value for name, value in lines.items() if value}


def _none(stands: Mapping[str, Json]) -> str:
    return "no trial is fully trained yet" if stands["trials"].get("completed") else "no trial completed yet"


def brief(trial: Mapping[str, Json]) -> str:
    """A trial in one line."""
    arm = f" ({trial['arm']})" if trial["arm"] != "strategy" else ""
    said = trial["state"] if trial["state"] != "completed" else ""
    return f"trial {trial['trial']}{arm}  {' '.join(filter(None, (said, _metrics(trial), trial['error'])))}".rstrip()


def trial_table(records: Sequence[Mapping[str, Json]]) -> None:
    """A line per trial, a column per metric."""
    names = list(dict.fromkeys(name for record in records for name in record["metrics"]))
    errors = any(record["error"] for record in records)
    rows = [
        [
            str(record["trial"]),
            record["arm"],
            record["state"],
            *(metric(record["metrics"].get(name)) for name in names),
            f"{record['epochs']}/{record['planned_epochs']}",
            duration(record["seconds"]),
            *([record["error"] or ""] if errors else []),
        ]
        for record in records
    ]
    titles = ["trial", "arm", "state", *names, "epochs", "time", *(["error"] if errors else [])]
    table(titles, rows, right=("trial", *names, "epochs", "time"))


def candidate_lines(candidate: Mapping[str, Json]) -> None:
    """A candidate's decisions, one per line, below an empty one."""
    write()
    pairs({name: str(value) for name, value in candidate.items()})


def comparison(found: Sequence[Mapping[str, Json]]) -> None:
    """A line per search."""
    metrics = list(dict.fromkeys(goal["metric"] for one in found for goal in one["objectives"]))
    titles = ["search", "state", "space", "strategy", "seed", "trials", "time", *metrics]
    tests = any(_test(one) for one in found)
    rows = [
        [
            one["search"],
            one["state"],
            *(str(one[name] if one[name] is not None else "-") for name in ("space", "strategy", "seed")),
            str(one["trials"].get("completed", 0)),
            duration(one["seconds"]),
            *(_of_best(one, name) for name in metrics),
            *([_test(one) or "-"] if tests else []),
        ]
        for one in found
    ]
    table([*titles, *(["test"] if tests else [])], rows, right=("seed", "trials", "time", *metrics))


def forecast_lines(expected: Mapping[str, Json]) -> dict[str, str]:
    """What `nas validate` prints: names and values."""
    goals = ", ".join(f"{goal['direction']} {goal['metric']}" for goal in expected["objectives"])
    total = expected["size"]
    lines = {
        "job": f"{expected['name']}: {expected['task']}, {expected['strategy']}, {goals}",
        "space": f"{expected['space'] or 'settings only'}, {counted(expected['decisions'], 'decision')}, "
        f"{count(total) if total is not None else 'infinitely many'} candidates",
        "parameters": _spread(expected["parameters"], count),
        "arithmetic": _spread(expected["multiply_adds"], count, " multiply-adds for one example"),
        "memory": _spread(expected["memory"], size, " to train one"),
        "feasible": "" if expected["feasible"] == 1 else f"{expected['feasible']:.0%} of a sample keep the constraints",
        "example": _example(expected.get("example")),
        "cost": _cost(expected),
    }
    return {name: value for name, value in lines.items() if value}


def _spread(spread: Mapping[str, float] | None, unit: Callable[[float], str], what: str = "") -> str:
    if spread is None:
        return ""
    return f"{unit(spread['smallest'])} to {unit(spread['largest'])}, median {unit(spread['median'])}{what}"


def _example(example: Mapping[str, Json] | None) -> str:
    if example is None:
        return ""
    rows = [("part", "shape", "parameters"), ("input", _shapes(example["inputs"]), "")]
    rows += [
        (f"{part['part']} ({part['kind']})", _shape(part["shape"]), count(part["parameters"]))
        for part in example["parts"]
    ]
    rows.append(("output", _shapes(example["outputs"]), count(example["parameters"])))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)


def _cost(expected: Mapping[str, Json]) -> str:
    spent = ""
    if expected["trainings"] is not None:
        needs = ((expected["trainings"], "training"), (expected["epochs"], "epoch"))
        spent = f"{', '.join(counted(*need) for need in needs)}, on {counted(expected['slots'], 'slot')}"
    seconds, speed = expected.get("seconds"), expected.get("multiply_adds_per_second")
    if seconds is None:
        return spent
    how = f", guessed from {count(speed)} multiply-adds per second here in one slot" if speed else ""
    return f"{spent}{': ' if spent else ''}{f'about {duration(seconds)}' if seconds >= 1 else 'under a second'}{how}"


def _shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name} {_shape(shape)}" for name, shape in shapes.items())


def _shape(shape: Sequence[int] | None) -> str:
    return "-" if shape is None else "x".join(map(str, shape))


def _of_best(stands: Mapping[str, Json], name: str) -> str:
    """The value of a metric in a search's best trial, and in its baseline's; `from to` over a Pareto front."""
    values = sorted(trial["metrics"][name] for trial in stands["best"] if name in trial["metrics"])
    if not values:
        return "-"
    if len(values) > 1 and values[0] != values[-1]:
        return f"{metric(values[0])} to {metric(values[-1])}"
    rival = [trial["metrics"][name] for trial in stands["baseline"] if name in trial["metrics"]]
    return metric(values[0]) + (f" (baseline {metric(rival[0])})" if len(rival) == 1 else "")


def _test(stands: Mapping[str, Json]) -> str:
    """What the objectives are on the test set."""
    names = [f"test_{goal['metric']}" for goal in stands["objectives"]]
    tests = [trial["metrics"] for trial in stands["final"] if trial["arm"] == "test"]
    return "; ".join(f"{name}={metric(found[name])}" for found in tests for name in names if name in found)


def _metrics(trial: Mapping[str, Json]) -> str:
    return " ".join(f"{name}={metric(value)}" for name, value in trial["metrics"].items())


def _counts(stands: Mapping[str, Json]) -> str:
    counts = dict(stands["trials"])
    asked, limit = counts.pop("asked"), stands["budget"].get("trials")
    total = f"{asked} of {limit}" if limit else str(asked)
    parts = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    return f"{total}: {parts}" if parts else total


def _driver(stands: Mapping[str, Json]) -> str:
    driver = stands["driver"]
    if stands["state"] not in ("running", "abandoned") or not driver["pid"]:
        return ""
    silent = " (silent)" if stands["state"] == "abandoned" else ""
    return f"process {driver['pid']} on {driver['host']}{silent}"
