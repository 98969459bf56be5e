"""Commands about searches on a cluster, and what their processes said: submit, logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from nas.cli.exits import Exit
from nas.cli.options import JobFile, Overrides, Place, Quiet, SearchId

if TYPE_CHECKING:
    from nas.log import Log
    from nas.remote.job_server import JobServer
    from nas.remote.submission import Destination

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The job server of a Ray cluster, http://HEAD:8265; otherwise $RAY_API_SERVER_ADDRESS.",
        show_default=False,
    ),
]
Follow: TypeAlias = Annotated[
    bool, typer.Option("--follow", "-f", help="Show it until it ends; Ctrl-C only looks away.")
]
Variables: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="NAME[=VALUE]",
        help="An environment variable for the processes there, such as PGPASSWORD; without a value, its value here; "
        "may be repeated.",
    ),
]


def submit(
    job: JobFile,
    address: Address = None,
    changes: Overrides = None,
    env: Variables = None,
    follow: Follow = False,
    journal: Place = None,
    quiet: Quiet = False,
) -> None:
    """Start a search on a Ray cluster, with the files of the job's folder. The search's id is printed at once."""
    from nas.cli.lookup import opened
    from nas.cli.output import remark, write
    from nas.cli.settings import load
    from nas.remote.submission import Destination, begin, prepare, store
    from workers.redaction import redacted

    described = load(job, changes or (), journal)
    place = described.journal.place
    server = server_at(address)
    prepared = prepare(described, server.address, place)
    if described.pool.name == "local":
        remark("pool: local is this machine; on the cluster the search has its machines (pool: ray).")
    with opened(place) as log:
        search = begin(prepared, log)
        write(search)
        store(prepared, log, search)
        packed = prepared.baggage
        if packed.left_out:
            names = ", ".join(packed.left_out[:10]) + (", ..." if len(packed.left_out) > 10 else "")
            remark(f"Left out, as links to elsewhere, no files, or holding the journal's password: {names}")
        if place is not None and journal is None:
            told = redacted(place)
            remark(f"The job keeps its journal in {told}: say --journal {told} to other commands, or set NAS_HOME.")
        launch(log, search, Destination(server, place, environment(env)), follow=follow, quiet=quiet)


def logs(
    search: SearchId = "last",
    trial: Annotated[int | None, typer.Option(metavar="N", help="Only what this trial said.")] = None,
    driver: Annotated[bool, typer.Option("--driver", help="Only what the driver said.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the search ends.")] = False,
    journal: Place = None,
) -> None:
    """Print what the driver of a search and its trials said: their output, and tracebacks of what failed."""
    from nas.cli.lookup import find, find_trial, history, opened
    from nas.cli.output import remark, write
    from nas.logbook import Logbook

    with opened(journal) as log:
        header = find(log, search)
        if trial is not None:
            find_trial(history(log, header), header.search, trial)
        book = Logbook(log, header.search, trials=not driver, driver=trial is None, only=trial)
        said = False
        for line in book.follow() if follow else book.read():
            write(line)
            said = True
        if not said:
            what = f"trial {trial} of {header.search}" if trial is not None else header.search
            remark(f"{what} has said nothing so far.")


def launch(
    log: Log,
    search: str,
    destination: Destination,
    *,
    follow: bool = False,
    quiet: bool = False,
    force: bool = False,
) -> None:
    """Have a search of `log` driven on a cluster; where it is followed, leaves with the code that says how it ended."""
    import math

    from nas.cli.output import remark
    from nas.remote.submission import PATIENCE, await_driver, failing, send
    from nas.summary import state

    try:
        with failing(log, search):
            submission = send(search, log, destination, force)
            begun = await_driver(submission, log, destination.server, math.inf if follow else PATIENCE)
    except KeyboardInterrupt:
        remark(
            f"The cluster may have {search}: nas status {search} says whether it has begun, nas resume {search} "
            f"--address ... sends it again, nas stop {search} ends it."
        )
        raise typer.Exit(Exit.INTERRUPTED) from None
    if follow:
        _watch(log, search, quiet)
    elif not begun:
        remark(f"The cluster has not begun the job {submission.job} so far: `nas status {search}` says when it has.")
    elif (now := state(header := log.header(search))) != "running":
        remark(f"{search} {now}{f': {header.reason}' if header.reason else ''}")
    elif not quiet:
        remark(f"{search} runs on the cluster as its job {submission.job}: nas status {search}, nas logs {search}")


def _watch(log: Log, search: str, quiet: bool) -> None:
    from dataclasses import replace

    from nas.cli.ending import conclude
    from nas.cli.output import remark
    from nas.live import view
    from nas.remote.following import follow
    from nas.standing import current
    from nas.summary import goal, state

    header = log.header(search)
    aim = goal(search, header.job, current(log, header).history.worked)
    try:
        with view(replace(aim, hint="Ctrl-C looks away, and the search goes on"), quiet) as shown:
            header = follow(search, log, shown)
    except KeyboardInterrupt:
        remark(f"{search} goes on: nas status {search}, nas logs {search}, nas stop {search}")
        raise typer.Exit(Exit.INTERRUPTED) from None
    conclude(log, search, state(header), header.reason, f"nas resume {search} --address ...", quiet)


def server_at(address: str | None) -> JobServer:
    """The job server that a user names, or the environment does."""
    from nas.remote.job_server import JobServer

    return JobServer(_address(address))


def _address(given: str | None) -> str:
    import os

    from workers.errors import UserError

    address = given or os.environ.get("RAY_API_SERVER_ADDRESS")
    if not address:
        raise UserError("no cluster is named: give --address http://HEAD:8265, where Ray's dashboard is")
    return address


def environment(given: list[str] | None) -> dict[str, str]:
    """`["A=b", "C"]` as variables, the second with its value here."""
    import os

    from workers.errors import UserError

    found = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not name.isidentifier():
            raise UserError(f"{name!r} is no name of an environment variable: --env NAME or --env NAME=VALUE")
        if not sign and name not in os.environ:
            raise UserError(f"{name} is not set here: set it, or say --env {name}=VALUE")
        found[name] = value if sign else os.environ[name]
    return found
