"""Connection: transactions on a PostgreSQL server that may restart, or break off, under a running search."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeVar, final

import psycopg

from workers.errors import UserError
from workers.redaction import redacted

Answer = TypeVar("Answer")
Cursor = psycopg.Cursor[Any]

PATIENCE = 120.0  # seconds that a server may be away
PAUSE = 0.1  # seconds between two knocks at its door
# A network that falls silent is noticed in some 20 s, not in the hours of the system; and a transaction whose client is
# gone, unknown to the server, is ended by it, so that it holds a row no longer than that.
ALIVE = {"keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 20_000}
ENDED = (
    psycopg.errors.AdminShutdown,
    psycopg.errors.CrashShutdown,
    psycopg.errors.CannotConnectNow,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
OPTIONS = "-c idle_in_transaction_session_timeout=20s"


@final
class Connection:
    """One connection for all threads of a process; a broken one is made anew, and waited for `patience` seconds."""

    def __init__(self, place: str, patience: float = PATIENCE) -> None:
        self._place = place
        self._patience = patience
        self._lock = RLock()
        self._until: float | None = None  # when the patience with a server that is away ends
        self._ended = False
        with explained():
            self._connection = _connect(place)

    def run(self, work: Callable[[Cursor], Answer]) -> Answer:
        """What `work` gives in a transaction that is committed; UserError where the server stays away.

        Where the connection breaks `work` runs again, and whether the commit before had succeeded nobody has heard:
        work that must not be done twice has to look first. It sees the truth once it has locked what the broken
        transaction had locked.
        """
        with self._lock:
            while True:
                try:
                    self._mend()
                    with explained(), self._connection.transaction(), self._connection.cursor() as cursor:
                        answer = work(cursor)
                except UserError as error:
                    if not self._broken(error.__cause__):
                        self._until = None  # the server has answered
                        raise
                    if not self._may_wait():
                        raise
                    self._connection.close()
                    time.sleep(PAUSE)
                else:
                    self._until = None
                    return answer

    def close(self) -> None:
        """Break off. May be called twice."""
        with self._lock:
            self._ended = True
            self._connection.close()

    def _mend(self) -> None:
        if self._connection.closed and not self._ended:
            with explained():
                self._connection = _connect(self._place)

    def _broken(self, cause: BaseException | None) -> bool:
        """Whether the connection is of no use any more; psycopg does not see that of one that ends in a pipeline."""
        lost = isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None
        return not self._ended and (self._connection.closed or lost or isinstance(cause, ENDED))

    def _may_wait(self) -> bool:
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._patience
        return now < self._until


def _connect(place: str) -> psycopg.Connection[Any]:
    try:
        given = psycopg.conninfo.conninfo_to_dict(place).get("options")
    except psycopg.ProgrammingError:  # repeats the address, password and all
        raise UserError(
            f"{redacted(place)} is no address of a PostgreSQL server: postgresql://USER@HOST:PORT/DATABASE"
        ) from None
    options = f"{given} {OPTIONS}" if given else OPTIONS
    whole = psycopg.conninfo.make_conninfo(place, **{"connect_timeout": 10, **ALIVE}, options=options)
    return psycopg.connect(whole, autocommit=True)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the server says into what a person can do."""
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise UserError(
            "the disk of the PostgreSQL server is full: make room, then `nas resume`; what had finished is kept"
        ) from error
    except psycopg.OperationalError as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"the PostgreSQL server cannot be used ({said}): check that it runs, the "
            "address (--journal or NAS_HOME: postgresql://USER@HOST:PORT/DATABASE) and the password (PGPASSWORD)"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(f"{error.diag.message_primary}: the PostgreSQL user must be allowed to make tables") from error
