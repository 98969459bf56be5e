"""Reach: whether a client and a cluster can both get at a journal and at artifacts, before anything is sent there."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from nas import machine
from nas.home import SERVERS
from workers.errors import UserError
from workers.redaction import redacted

FOLDERS = ("file://", "local://")
OURS_ALONE = ("memory://",)


def check_reach(address: str, journal: str, artifacts: str) -> None:
    """Raise `UserError` where a place is one of this machine alone, and the cluster at `address` is elsewhere.

    What is said of places here is proved later: the driver reads on the cluster what was written here.
    """
    if artifacts.startswith(OURS_ALONE):
        raise UserError(f"artifacts in {artifacts} end with their process: name a folder, or s3://BUCKET/FOLDER")
    if on_this_machine(host_of(address)):
        return
    where = f"which the cluster at {address} cannot reach"
    if not journal.startswith(SERVERS):
        raise UserError(
            f"the journal would be in {journal}, a folder of this machine, {where}: keep it in PostgreSQL, "
            "--journal postgresql://USER@HOST/DATABASE"
        )
    if on_this_machine(server := _server(journal)):
        raise UserError(
            f"the journal would be in {redacted(journal)}, on {server or 'a socket of this machine'}, {where}: name "
            "the server as the cluster's machines call it"
        )
    if (folder := _folder(artifacts)) is not None and not machine.over_network(machine.file_system(folder)):
        kind = machine.file_system(folder) or "unknown"
        raise UserError(
            f"artifacts would be in {folder}, a folder of this machine ({kind}), {where}: name a place that both "
            "reach, artifacts: s3://BUCKET/FOLDER or a folder that they share (NFS)"
        )


def address_of(given: str) -> str:
    """The address of a job server in full: `head` is `http://head:8265`."""
    parts = _split(given if "://" in given else f"http://{given}")
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            f"{redacted(given)} is no address of a job server: it is that of Ray's dashboard, such as http://HEAD:8265"
        )
    if parts.username or parts.password:
        raise UserError("the address holds a password: put Ray's token into RAY_AUTH_TOKEN, or into ~/.ray/auth_token")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    try:
        port = parts.port or (443 if parts.scheme == "https" else 8265)
    except ValueError:
        raise UserError(f"{given} has no port that there is: http://HEAD:8265") from None
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def host_of(address: str) -> str:
    """The host in the address of a job server."""
    return urlsplit(address).hostname or ""


def on_this_machine(host: str) -> bool:
    """Whether `host` is this machine: its loopback, an address of its own, or nothing (a socket)."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return any(_ours(str(one)) for one in found)


def _ours(address: str) -> bool:
    """Whether this machine has the address: only then can something be bound to it."""
    number = ipaddress.ip_address(address.partition("%")[0])
    if number.is_loopback:
        return True
    family = socket.AF_INET6 if number.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as bound:
            bound.bind((str(number), 0))
    except OSError:
        return False
    return True


def _server(journal: str) -> str:
    """The host of a `postgresql://` address; empty for a socket."""
    if (parts := _split(journal)) is None:
        raise UserError(
            f"{redacted(journal)} is no address of a PostgreSQL server: postgresql://USER@HOST:PORT/DATABASE"
        )
    return parts.hostname or (parse_qs(parts.query).get("host") or [""])[0]


def _split(address: str) -> SplitResult | None:
    """The parts of an address; None where its brackets do not close."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def _folder(artifacts: str) -> Path | None:
    for scheme in FOLDERS:
        if artifacts.startswith(scheme):
            return Path(artifacts.removeprefix(scheme))
    return None if "://" in artifacts else Path(artifacts)
