"""The sections of a report: headline, progress, trade-off, surrogate, drawings, costs, failures, settings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape

import yaml

from nas.drawing import svg
from nas.history import TrialRecord
from nas.quantities import count, duration, is_share, metric, scale
from nas.reports import charts, facts
from nas.reports.page import Subject, arm_name, listed, section, table
from nas.surrogates.correlation import rank_correlations
from workers.objectives import Objective, Outcome

DRAWN = 3


def headline(subject: Subject) -> str:
    """What came out, in a title and four numbers."""
    header, history = subject.header, subject.history
    over = [record for record in history.searched() if record.result is not None]
    job = header.job
    on = f"{facts.spec(job['space'])}, " if job.get("space") is not None else ""
    line = (
        f"{facts.spec(job.get('strategy'))} on {on}{facts.spec(job.get('task'))} &middot; "
        f"{len(over)} trials &middot; {facts.state(history)} &middot; "
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(header.created))}"
    )
    tiles = [_result(subject), *_versus(subject), *_size(subject), _spent(subject)]
    return (
        f"<header><h1>{escape(header.search)}</h1><p>{_escaped(line)}</p></header>"
        + (f'<div class="tiles">{"".join(tiles)}</div>')
        + (f'<p class="say">{escape(subject.measured)}</p>' if subject.measured else "")
    )


def _escaped(line: str) -> str:
    return escape(line).replace("&amp;middot;", "&middot;")


def _tile(what: str, number: str, further: str, kind: str = "") -> str:
    return (
        f'<div class="tile {kind}"><span class="what">{escape(what)}</span><b>{escape(number)}</b>'
        f"<span>{escape(further)}</span></div>"
    )


def _result(subject: Subject) -> str:
    won, main = facts.winner(subject.history), subject.main
    if won is not None and won[1].result is not None:
        record, test = won[0], won[1].result.metrics
        name = f"test_{main.metric}" if main is not None and f"test_{main.metric}" in test else next(iter(test), "")
        if name:
            further = f"trial {record.trial.id}, retrained" if record.arm == "final" else f"trial {record.trial.id}"
            if "test_correct" in test:
                further += f"; {test['test_correct']:.0f} of {test['test_total']:.0f} right"
            further += _beside(subject, test, name)
            return _tile(charts.title(name).capitalize(), charts.value(name, test[name]), further, "first")
    best = facts.best_of(subject.history, subject.objectives, 1)
    if best and main is not None and best[0].result:
        found = best[0].result.metrics[main.metric]
        return _tile(
            f"Best {charts.title(main.metric)} (validation)",
            charts.value(main.metric, found),
            f"trial {best[0].trial.id}"
            + _beside(subject, best[0].result.metrics, main.metric)
            + ("; the test set has not been read" if subject.header.job.get("space") else ""),
            "first",
        )
    return _tile("Result", "none yet", "no trial has completed", "first")


def _beside(subject: Subject, metrics: Mapping[str, float], name: str) -> str:
    """The figures that a metric is to be read beside, where the task has such."""
    return "".join(f"; {one} {metric(value)}" for one, value in scale(metrics, name).items() if subject.measured)


def _versus(subject: Subject) -> list[str]:
    main = subject.main
    if main is None:
        return []
    found = facts.compare(subject.history, main)
    if found is None and _is_random(subject):
        return []
    if found is None:
        return [_tile("Against random search", "not compared", "this search has no random baseline")]
    if found.searched is None or found.random is None:
        return [_tile("Against random search", "too early", f"after {found.each}")]
    gap = found.searched - found.random
    said = f"{gap * 100:+.2f} points" if is_share(main.metric) else f"{gap:+.4g}"
    said = "equal" if not float(said.split()[0]) else said
    values = f"{charts.value(main.metric, found.searched)} to {charts.value(main.metric, found.random)}"
    return [_tile("Against random search", said, f"{values} on validation, after {found.each}")]


def _size(subject: Subject) -> list[str]:
    won = facts.winner(subject.history)
    best = [won[0]] if won else facts.best_of(subject.history, subject.objectives, 1)
    metrics = best[0].result.metrics if best and best[0].result else {}
    if "parameters" not in metrics:
        return []
    further = f"{count(metrics['multiply_adds'])} multiply-adds" if "multiply_adds" in metrics else ""
    return [_tile("Parameters", count(metrics["parameters"]), further)]


def _spent(subject: Subject) -> str:
    costs = facts.costs(subject.history).values()
    device = sum(cost.device_seconds or cost.seconds for cost in costs)
    epochs = sum(cost.epochs for cost in costs)
    return _tile("Cost", duration(subject.history.busy()), f"{duration(device)} of device time, {epochs} epochs")


def progress(subject: Subject) -> str:
    """Best so far, with what it says beside a random baseline, or that there is none."""
    main = subject.main
    if main is None or not facts.measured(subject.history, [main.metric]):
        return section("Progress", "", "No trial has completed so far.")
    return section("Progress", charts.progress(subject, main) + _verdict(subject, main) + _shared(subject))


def _shared(subject: Subject) -> str:
    """What scores are where they are of shared weights."""
    weights = subject.header.job.get("weights")
    if not isinstance(weights, Mapping) or weights.get("sharing") != "shared":
        return ""
    return (
        '<p class="say">Children share weights: a score of the search is of the shared weights as they were then, and '
        "says little about what the network reaches alone. The best were scored again at the end, all with the weights "
        "of the end; what is handed over was trained from scratch.</p>"
    )


def _verdict(subject: Subject, main: Objective) -> str:
    found = facts.compare(subject.history, main)
    if found is None and _is_random(subject):
        return '<p class="say">This is random search itself, which other strategies are compared with.</p>'
    if found is None:
        return (
            '<p class="say">There is no random baseline in this search: what the strategy adds to luck cannot be told. '
            "A job with <code>baseline: 0.2</code> gives a fifth of its trials to random search.</p>"
        )
    said = f"After {found.each}: "
    if found.searched is None or found.random is None:
        said += "one of the two has no fully trained trial yet."
    else:
        gap = main.gain(found.searched) - main.gain(found.random)
        better = "the search is ahead" if gap > 0 else "random search is ahead" if gap < 0 else "both are equal"
        values = [charts.value(main.metric, number) for number in (found.searched, found.random)]
        said += f"{values[0]} by the search, {values[1]} by random search; {better}"
        said += f". These trials took {duration(found.seconds[0])} and {duration(found.seconds[1])} of training. "
        said += "One run of each: a difference this small may be chance." if _small(main, gap) else "One run of each."
    return f'<p class="say">{escape(said)}</p>'


def _is_random(subject: Subject) -> bool:
    strategy = subject.header.job.get("strategy")
    return (strategy.get("name") if isinstance(strategy, Mapping) else strategy) == "random"


def _small(main: Objective, gap: float) -> bool:
    return is_share(main.metric) and abs(gap) < 0.01


def trade(subject: Subject) -> str:
    """The Pareto front of the job's objectives, or the score against the size."""
    drawn = charts.trade(subject)
    if not drawn:
        return ""
    title = "Pareto front" if len(subject.objectives) > 1 else "What more size buys"
    return section(title, drawn)


def surrogate(subject: Subject) -> str:
    """How well the surrogate ranked each level, for strategies that have one."""
    levels = rank_correlations(subject.history, subject.main) if subject.main else []
    if not levels:
        return ""
    rows = [[str(one.level), str(one.count), _rho(one.predicted), _rho(one.fitted)] for one in levels]
    said = (
        "Spearman's rank correlation, per level, of what the surrogate predicted before the children were trained with "
        "what they then scored; and of the surrogate fitted to that level. 1 is a perfect order, 0 is chance."
    )
    known = any(one.predicted is not None or one.fitted is not None for one in levels)
    shown = table(["level", "children", "predicted", "fitted"], rows, numbers=(0, 1, 2, 3))
    drawn = f"<figure>{charts.correlation(levels)}</figure>" if known else ""
    return section("How well the surrogate ranks", f'<div class="pair">{drawn}<div>{shown}</div></div>', said)


def _rho(rho: float | None) -> str:
    return "–" if rho is None else f"{rho:.2f}"


def drawings(subject: Subject) -> str:
    """The graphs of the winner, and of further good ones behind a fold."""
    if subject.trouble:
        return section("The best, drawn", "", f"The networks cannot be drawn here: {escape(subject.trouble)}")
    parts = []
    for place, (trial, described) in enumerate(subject.described.items()):
        record = subject.history.trials[trial]
        shown = "".join(
            f'<h3>{escape(name)}</h3><div class="drawn">{svg(graph, f"{name} of trial {trial}", paper=False)}</div>'
            for name, graph in described.graphs.items()
            if name != "network" or len(described.graphs) == 1
        )
        whole = described.graphs.get("network")
        if shown and whole is not None and len(described.graphs) > 1:
            shown += (
                f"<details><summary>The whole network</summary>"
                f'<div class="drawn">{svg(whole, f"network of trial {trial}", paper=False)}</div></details>'
            )
        if shown:
            name = escape(_scored(subject, record))
            parts.append(f"<h3>{name}</h3>{shown}" if not place else _folded(name, shown))
    return section("The best, drawn", "".join(parts)) if parts else ""


def _folded(name: str, body: str) -> str:
    return f"<details><summary>{name}</summary>{body}</details>"


def _scored(subject: Subject, record: TrialRecord) -> str:
    metrics = record.result.metrics if record.result else {}
    said = [
        f"{charts.title(o.metric)} {charts.value(o.metric, metrics[o.metric])}"
        for o in subject.objectives
        if o.metric in metrics
    ]
    return ", ".join([f"Trial {record.trial.id}", *said, arm_name(record.arm)])


def costs(subject: Subject) -> str:
    """What each arm took."""
    rows = [
        [
            arm_name(arm),
            str(cost.trials),
            str(cost.completed),
            str(cost.epochs),
            duration(cost.seconds),
            duration(cost.device_seconds) if cost.device_seconds else "–",
        ]
        for arm, cost in facts.costs(subject.history).items()
    ]
    head = ["arm", "trials", "completed", "epochs", "worker time", "device time"]
    named = facts.devices(subject.history)
    device = f" Device: {named}." if named else ""
    busy = f"{duration(subject.history.busy())} with at least one worker busy.{device}"
    return section("What it cost", table(head, rows, numbers=(1, 2, 3, 4, 5)), escape(busy))


def failures(subject: Subject) -> str:
    """Trials without a score, by cause."""
    causes = facts.failures(subject.history)
    lost = sum(record.losses for record in subject.history.trials.values())
    again = f" Workers were lost {lost} times; these trials were issued again." if lost else ""
    if not causes:
        return section("Failures", "", f"No trial failed.{again}")
    rows = [
        [str(c.count), c.outcome, c.error, ", ".join(map(str, c.trials)) + (", …" if c.count > len(c.trials) else "")]
        for c in causes
    ]
    total = sum(record.result is not None for record in subject.history.trials.values())
    failed = sum(c.count for c in causes)
    infeasible = facts.outcomes(subject.history)[str(Outcome.INFEASIBLE)]
    said = f"{failed} of {total} trials gave no score, {infeasible} of them infeasible. # stands for a number.{again}"
    return section("Failures", table(["trials", "outcome", "cause", "for example"], rows, numbers=(0,)), said)


def settings(subject: Subject) -> str:
    """The job, the seed, the versions, who drove it, and what a person should know."""
    header, history = subject.header, subject.history
    known: dict[str, str] = {
        "search": header.search,
        "seed": str(header.job.get("seed", "–")),
        "epochs of a child": ", ".join(sorted({str(r.trial.epochs) for r in history.searched()})) or "–",
        "begun": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(header.created)),
        "drivers": f"{len(history.drivers)}" if history.drivers else "–",
        "device": facts.devices(history) or "–",
        "journal schema": str(header.schema),
        **{f"{name} version": version for name, version in header.versions.items()},
    }
    notes = [str(note.body.get("text", "")) for note in history.notes]
    told = f"<h3>Notes</h3><ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>" if notes else ""
    return section("Settings", f'<div class="pair"><div>{_job(header.job)}</div><div>{listed(known)}</div></div>{told}')


def _job(job: Mapping[str, object]) -> str:
    text = yaml.safe_dump(dict(job), sort_keys=False, allow_unicode=True, width=88)
    return f"<pre>{escape(text)}</pre>"
