"""Invitation: what the processes of a submitted job are told by who submitted it, in a file that travels with it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import final

from workers.artifacts import Artifacts
from workers.errors import DamagedError, NotFoundError, UserError
from workers.redaction import redacted
from workers.release import release
from workers.setup import Setup

PACKAGE = "cellwright_invitation"  # a folder among the modules that travel
FILE = "invitation.json"


@final
@dataclass(frozen=True)
class Invitation:
    """Which search to drive, and what proves that it is the one that was meant.

    `journal` and `environment` may hold passwords. They travel in a file that only its owner may read, so that they are
    in none of Ray's records of a job: neither its entrypoint, nor its runtime environment, nor a log. `created` is when
    the search was, by its journal, `epoch` that of the driver before the one that is invited, `nonce` what its
    artifacts hold as `greeting`, `release` the code of the sender, `files` the digest of what travelled from the job's
    folder.
    """

    search: str
    journal: str
    created: float
    nonce: str
    release: str
    files: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    force: bool = False
    epoch: int = 0

    @property
    def greeting(self) -> str:
        """The name of the file of the search that who submitted it has left for the cluster."""
        return f"greeting-{self.nonce}"

    @property
    def answer(self) -> str:
        """The name of the file of the search in which the driver says that it has read it."""
        return f"answer-{self.nonce}"

    def write(self, folder: Path) -> Path:
        """Write it below `folder`, for its owner's eyes: the folder that is to travel as a module."""
        package = folder / PACKAGE
        package.mkdir(mode=0o700)
        handle = os.open(package / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            json.dump(vars(self), opened)
        return package

    @classmethod
    def found(cls) -> Invitation | None:
        """The one that travelled with the job of this process; None where it is of no submitted job."""
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            return None
        text = Path(next(iter(spec.submodule_search_locations)), FILE).read_text(encoding="utf-8")
        return cls(**json.loads(text))


def enter(setup: Setup) -> None:
    """Make a worker's process fit for the search of `setup`: its environment, its code, its artifacts.

    `UserError` where it runs other code than the driver, or does not see the artifacts that the others see.
    """
    invitation = Invitation.found()
    if invitation is not None:
        os.environ.update(invitation.environment)
    if setup.release and setup.release != release():
        raise UserError(differing(f"the worker on {socket.gethostname()}", release(), "its driver", setup.release))
    if invitation is not None and invitation.search == setup.search:
        check_artifacts(Artifacts.open(setup.artifacts), invitation, f"the worker on {socket.gethostname()}")


def differing(who: str, one: str, whom: str, other: str) -> str:
    """Two releases that must be the same and are not, and what to do."""
    return (
        f"{who} has {one}, but {whom} has {other}: all machines of a search must run the same. `nas submit` sends the "
        "source along; install the same Python, ray and torch everywhere"
    )


def check_artifacts(artifacts: Artifacts, invitation: Invitation, who: str) -> None:
    """Raise `UserError` where `artifacts` are not those into which the invitation's sender has written."""
    try:
        found = artifacts.get_whole(invitation.search, invitation.greeting).decode("ascii", "replace")
    except (NotFoundError, DamagedError, OSError) as error:
        found = str(error)
    if found != invitation.nonce:
        raise UserError(
            f"{who} does not see what was written to {redacted(artifacts.place)} where the search was submitted "
            f"({found}): name a place that all machines reach, artifacts: s3://... or a shared folder"
        )
