"""Where searches are kept: a folder, or a PostgreSQL server."""

from __future__ import annotations

import os
import re
from pathlib import Path

from nas.log import Log
from workers.errors import UserError
from workers.redaction import redacted, secrets

FOLDER = "~/.cellwright"
QUOTED = re.compile(r"(?:[\w.~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*", re.ASCII)  # what RFC 3986 allows before an @
SERVERS = ("postgresql://", "postgres://")


def home(place: str | None = None) -> str:
    """`place`, else the environment variable NAS_HOME, else `~/.cellwright`."""
    return place or os.environ.get("NAS_HOME") or FOLDER


def open_log(place: str | None = None) -> Log:
    """The journals at a folder or a `postgresql://` address; see `home` for None."""
    place = home(place)
    if place.startswith(SERVERS):
        try:
            from nas.logs.postgresql import PostgresqlLog
        except ModuleNotFoundError as error:
            raise UserError(f"{redacted(place)!r} needs {error.name}: pip install 'cellwright[postgres]'") from error
        _check_password(place)
        return PostgresqlLog(place)
    if "://" in place:
        raise UserError(
            f"{redacted(place)!r} is no place for journals: give a folder or postgresql://USER@HOST/DATABASE"
        )
    from nas.logs.sqlite import SqliteLog

    folder = Path(place).expanduser()
    if folder.is_file():
        raise UserError(f"{folder} is a file, but journals are kept in a folder: set NAS_HOME, or --journal, to one")
    return SqliteLog(folder)


def _check_password(place: str) -> None:
    """Refuse a password that would be taken for other parts of the address, and shown as such."""
    if any(not QUOTED.fullmatch(secret[1:-1]) for secret in secrets(place) if secret.startswith(":")):
        raise UserError(
            f"the password in {redacted(place)} has characters that an address cannot hold: write @ as %40, / as %2F "
            "and so on, or leave it out and set PGPASSWORD"
        )
