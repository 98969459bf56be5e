"""Commands that drive a search or ask something of it: run, resume, stop, enqueue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import JobFile, Overrides, Place, Quiet, SearchId
from nas.cli.remote import Address, Follow, Variables, environment, launch, server_at

if TYPE_CHECKING:
    from nas.log import Log


def run(
    job: JobFile,
    changes: Overrides = None,
    journal: Place = None,
    quiet: Quiet = False,
) -> None:
    """Start a search, and follow it to its end. The search's id is printed at once.

    Ctrl-C finishes the trials that run, then stops; a second Ctrl-C stops now. Either way `nas resume` goes on.
    """
    from nas.cli.lookup import opened
    from nas.cli.output import remark, write
    from nas.cli.settings import load
    from nas.driver import start
    from workers.redaction import redacted

    described = load(job, changes or (), journal)
    place = described.journal.place
    with opened(place) as log:
        search = start(described, log)
        write(search)
        if place is not None and journal is None:
            told = redacted(place)
            remark(f"The job keeps its journal in {told}: say --journal {told} to other commands, or set NAS_HOME.")
        _drive(log, search, quiet, after=0)


def resume(  # noqa: PLR0913 - the parameters of a command are its options
    search: SearchId = "last",
    changes: Overrides = None,
    address: Address = None,
    env: Variables = None,
    follow: Follow = False,
    force: Annotated[bool, typer.Option("--force", help="Take over from a driver that seems to be alive.")] = False,
    journal: Place = None,
    quiet: Quiet = False,
) -> None:
    """Go on with a search that was interrupted, or that gets a larger budget by --set.

    One that was submitted goes on at --address, with the files that were kept of it; or here, with --set pool=local.
    """
    from nas.cli.lookup import find, opened
    from nas.cli.output import write
    from nas.cli.settings import nested
    from nas.driver import extend
    from nas.remote.resubmission import check_machines, to_cluster
    from nas.remote.submission import Destination

    with opened(journal) as log:
        header = find(log, search)
        log.check(header.search, force)
        if changes:
            extend(header.search, log, nested(changes))
        if address is None:
            check_machines(header.search, log)
            write(header.search)
            _drive(log, header.search, quiet, force)
            return
        destination = Destination(server_at(address), journal, environment(env))
        to_cluster(header.search, log)
        write(header.search)
        launch(log, header.search, destination, follow=follow, quiet=quiet, force=force)


def stop(search: SearchId = "last", journal: Place = None) -> None:
    """Ask a running search to finish the trials that run, and stop; one that has not begun will not."""
    from nas import stopping
    from nas.cli.lookup import find, opened
    from nas.cli.output import remark

    with opened(journal) as log:
        name = find(log, search).search
        begun = stopping.stop(name, log)
    what = "will stop when the trials that run have ended" if begun else "is stopped: it had not begun"
    remark(f"{name} {what}; `nas resume {name}` goes on.")


def enqueue(
    search: SearchId,
    candidate: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|KEY=VALUE...", help="A candidate: a JSON file, or its decisions.", show_default=False
        ),
    ],
    journal: Place = None,
) -> None:
    """Have a search try a candidate of yours next."""
    from nas.cli.lookup import find, opened
    from nas.cli.output import remark
    from nas.cli.settings import candidate as read_candidate
    from nas.recorded import current_plan

    wanted = read_candidate(candidate)
    with opened(journal) as log:
        header = find(log, search)
        chosen = current_plan(log, header.search).decisions.candidate(wanted)
        log.request(header.search, "enqueue", {"candidate": chosen.json()})
    when = "as soon as a slot is free" if header.driven() else f"when it goes on: nas resume {header.search}"
    remark(f"{header.search} will try it {when}.")


def _drive(log: Log, search: str, quiet: bool, force: bool = False, after: int | None = None) -> None:
    """Drive `search` to its end, shown on stderr; leaves with the exit code that says how it ended."""
    from nas.cli.ending import conclude
    from nas.driver import drive
    from nas.live import view
    from nas.recorded import current_job
    from nas.standing import current
    from nas.summary import goal

    spent = current(log, log.header(search)).history.worked
    aim = goal(search, current_job(log, search).json(), spent)
    with view(aim, quiet) as progress:
        ending = drive(search, log, progress, force, after=after)
    conclude(log, search, ending.state, ending.reason, f"nas resume {search}", quiet)
