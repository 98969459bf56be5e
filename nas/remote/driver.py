"""A search's driver as a job of a Ray cluster; started by `nas submit`, with an invitation."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

from workers.errors import NotFoundError, UserError
from workers.redaction import redacted, redacted_text

if TYPE_CHECKING:
    from nas.log import Header, Log
    from nas.process import Process
    from workers.invitation import Invitation

REFUSED = "refused: "  # begins the line that says why this driver does not begin


def main() -> int:
    """Drive the search that this process was invited to: the exit code."""
    try:
        from workers.invitation import Invitation

        invitation = Invitation.found()
        if invitation is None:
            raise UserError("this is no job of a cluster: `nas submit` makes one")
        os.environ.update(invitation.environment)
        return _drive(invitation)
    except UserError as error:
        return _refused(str(error))
    except ModuleNotFoundError as error:
        return _refused(
            f"{error.name} cannot be imported on {socket.gethostname()} by {sys.executable}, the Python in its PATH: "
            "the cluster needs what Cellwright depends on, so install it there (pip install cellwright), and what the "
            "job's own modules import"
        )
    except Exception as error:  # Ray keeps what is printed here with the job, for everybody
        sys.stderr.write(redacted_text("".join(traceback.format_exception(error))))
        return 1


def _drive(invitation: Invitation) -> int:
    from workers.invitation import check_artifacts, differing
    from workers.release import release

    who = f"the driver on {socket.gethostname()}"
    if invitation.release != release():
        raise UserError(differing(who, release(), "the client", invitation.release))
    from nas.driver import drive
    from nas.home import open_log
    from nas.live import view
    from nas.process import Process
    from nas.remote.kept import place
    from nas.summary import goal
    from workers.artifacts import Artifacts

    with closing(open_log(invitation.journal)) as log:
        header = _header(log, invitation, who)
        artifacts = Artifacts.open(place(log, header))
        check_artifacts(artifacts, invitation, who)
        artifacts.put_whole(invitation.search, invitation.answer, signed(invitation, Process.here()).encode())
        with view(goal(invitation.search, header.job)) as progress:
            ending = drive(invitation.search, log, progress, invitation.force, after=invitation.epoch)
    sys.stderr.write(f"{ending.search} {ending.state}{f': {ending.reason}' if ending.reason else ''}\n")
    return 1 if ending.state == "failed" else 0


def signed(invitation: Invitation, driver: Process) -> str:
    """What the invited driver answers: that it has read the greeting, and which process it is."""
    return f"{invitation.nonce} {driver.pid} {driver.host}"


def _header(log: Log, invitation: Invitation, who: str) -> Header:
    """The search, if it is the one that was meant."""
    remedy = "name a journal that both reach, --journal postgresql://USER@HOST/DATABASE"
    where = redacted(invitation.journal)
    try:
        header = log.header(invitation.search)
    except NotFoundError as error:
        raise UserError(f"{who} does not see the search in the journal at {where} ({error}): {remedy}") from error
    if header.created != invitation.created:
        raise UserError(f"{who} sees another search {invitation.search} in the journal at {where}: {remedy}")
    return header


def _refused(reason: str) -> int:
    sys.stdout.write(f"{REFUSED}{redacted_text(' '.join(reason.split()))}\n")
    sys.stdout.flush()
    return 2


if __name__ == "__main__":
    sys.exit(main())
