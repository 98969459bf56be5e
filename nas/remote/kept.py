"""Kept files: what travelled with a job, as a file of its search, with which any machine can go on or export."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from nas.home import home
from nas.log import Header, Log
from nas.remote.unpacking import unpack
from workers.artifacts import Artifacts
from workers.errors import DamagedError, UserError
from workers.invitation import Invitation
from workers.trial import Json

NAME = "files.zip"
PREFIX = "kept:"  # then the SHA-256 of the archive: a job's folder, whichever machine it is asked for on
REFERENCE = re.compile(r"kept:([0-9a-f]{64})")


def keep(artifacts: Artifacts, search: str, content: bytes) -> None:
    """Store the archive that `reference` names with its search."""
    artifacts.put_whole(search, NAME, content)


def reference(digest: str) -> str:
    """What stands for the job's folder in its journal."""
    return f"{PREFIX}{digest}"


def submitted(job: Mapping[str, Json]) -> bool:
    """Whether this is the record of a job that was submitted to a cluster."""
    return str(job.get("folder") or "").startswith(PREFIX)


def place(log: Log, header: Header) -> str:
    """Where the artifacts of a search are, from its header alone."""
    named = (header.job.get("artifacts") or {}).get("place")
    if named:
        return str(named)
    return str(log.folder.absolute()) if log.folder is not None else str(Path(home()).expanduser())


def on_this_machine(log: Log, header: Header) -> dict[str, Json]:
    """The recorded job, its folder a folder of this machine."""
    if not submitted(header.job):
        return dict(header.job)
    artifacts = Artifacts.open(place(log, header))
    return {**header.job, "folder": folder(artifacts, header.search, digest_of(header))}


def archive(artifacts: Artifacts, search: str, digest: str) -> bytes:
    """What travelled with the job of a search, as it was packed."""
    content = artifacts.get_whole(search, NAME)
    if hashlib.sha256(content).hexdigest() != digest:
        raise DamagedError(f"{NAME} of {search} in {artifacts.place} is not what travelled with the job")
    return content


def digest_of(header: Header) -> str:
    """The digest in the reference that a journal has for the job's folder."""
    found = REFERENCE.fullmatch(str(header.job["folder"]))
    if found is None:
        raise DamagedError(f"the journal of {header.search} names no files that were kept: {header.job['folder']!r}")
    return found[1]


def folder(artifacts: Artifacts, search: str, digest: str) -> str:
    """Where the files are: the current folder of a process that they travelled with, otherwise unpacked in a cache."""
    invitation = Invitation.found()
    if invitation is not None and invitation.files == digest:
        return "."
    unpacked = cache() / digest
    if not unpacked.is_dir():
        content = archive(artifacts, search, digest)
        try:
            unpack(content, unpacked)
        except OSError as error:
            raise UserError(
                f"the cache {unpacked.parent} cannot be used ({error}): set NAS_CACHE to another"
            ) from error
    return str(unpacked)


def cache() -> Path:
    """Where files are unpacked, each archive once: `$NAS_CACHE/jobs`, else `~/.cache/cellwright/jobs`."""
    return Path(os.environ.get("NAS_CACHE") or Path.home() / ".cache" / "cellwright").expanduser().absolute() / "jobs"
