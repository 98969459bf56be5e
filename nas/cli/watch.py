"""Commands that look at searches: list, status, trials, best, compare."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, final

import typer

from nas.cli.options import AsJson, Place, SearchId


@final
class TrialState(StrEnum):
    """What `nas trials --state` takes."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INFEASIBLE = "infeasible"


def list_(journal: Place = None, json: AsJson = False) -> None:
    """List the searches, newest first."""
    from nas.cli.lookup import opened
    from nas.cli.output import remark, table, write_json
    from nas.cli.text import day
    from nas.summary import overview

    with opened(journal) as log:
        found = [overview(header) for header in sorted(log.searches(), key=lambda h: h.created, reverse=True)]
    if json:
        write_json(found)
    elif found:
        columns = ("search", "state", "task", "space", "strategy")
        rows = [[*(str(one[name] or "-") for name in columns), day(one["created"])] for one in found]
        table([*columns, "created"], rows)
    else:
        remark("There is no search here yet: start one with `nas run job.yaml`.")


def status(search: SearchId = "last", journal: Place = None, json: AsJson = False) -> None:
    """Show where a search stands."""
    from nas.cli.lookup import find, opened, standing
    from nas.cli.output import pairs, write_json
    from nas.cli.text import standing_lines

    with opened(journal) as log:
        stands = standing(log, find(log, search))
    if json:
        write_json(stands)
    else:
        pairs(standing_lines(stands))


def trials(
    search: SearchId = "last",
    state: Annotated[TrialState | None, typer.Option(help="Only trials in this state.")] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Sort by a metric, the best first; otherwise as they were asked."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N.")] = None,
    journal: Place = None,
    json: AsJson = False,
) -> None:
    """List the trials of a search."""
    from nas.cli.lookup import look
    from nas.cli.output import write_json
    from nas.cli.text import trial_table
    from nas.summary import objectives, sorted_by, trial

    header, known = look(journal, search)
    records = [trial(record) for record in known.trials.values()]
    if sort is not None:
        records = sorted_by(records, sort, objectives(header.job))
    if state is not None:
        records = [record for record in records if record["state"] == state]
    records = records[:top]
    if json:
        write_json(records)
    else:
        trial_table(records)


def best(
    search: SearchId = "last",
    top: Annotated[int, typer.Option(min=1, metavar="N", help="The first N (one objective only).")] = 1,
    journal: Place = None,
    json: AsJson = False,
) -> None:
    """Show the best trials of a search: with several objectives, its Pareto front."""
    from nas.cli.lookup import look
    from nas.cli.output import remark, write_json
    from nas.cli.text import candidate_lines, trial_table
    from nas.summary import best as best_of
    from nas.summary import objectives, trial

    header, known = look(journal, search)
    goals = objectives(header.job)
    found = [trial(record) for record in best_of(known, goals, top)]
    if json:
        write_json(found)
        return
    if not found:
        remark(f"{header.search} has no completed trial yet.")
        return
    if len(goals) > 1:
        remark(f"Pareto front of {', '.join(goal.metric for goal in goals)}:")
    trial_table(found)
    if len(found) == 1:
        candidate_lines(found[0]["candidate"])


def compare(
    searches: Annotated[list[str], typer.Argument(metavar="ID...", help="Two or more searches.", show_default=False)],
    journal: Place = None,
    json: AsJson = False,
) -> None:
    """Put searches side by side: what they tried, what it cost, what came of it."""
    from nas.cli.lookup import find, opened, standing
    from nas.cli.output import write_json
    from nas.cli.text import comparison

    with opened(journal) as log:
        found = [standing(log, find(log, one)) for one in searches]
    if json:
        write_json(found)
    else:
        comparison(found)
