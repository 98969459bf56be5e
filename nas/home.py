"""Where searches are kept: a folder, or a PostgreSQL server."""

from __future__ import annotations

import os
from pathlib import Path

from nas.log import Log
from workers.errors import UserError

FOLDER = "~/.cellwright"
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
            raise UserError(f"{place!r} needs {error.name}: pip install 'cellwright[postgres]'") from error
        return PostgresqlLog(place)
    if "://" in place:
        raise UserError(f"{place!r} is no place for journals: give a folder or postgresql://USER@HOST/DATABASE")
    from nas.logs.sqlite import SqliteLog

    folder = Path(place).expanduser()
    if folder.is_file():
        raise UserError(f"{folder} is a file, but journals are kept in a folder: set NAS_HOME, or --journal, to one")
    return SqliteLog(folder)
