"""Log: where entries are kept, in order, and who may write them."""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from nas.history import Entry
from nas.process import Process
from workers.errors import UserError
from workers.trial import Json

STALE = 30.0  # seconds without a heartbeat after which a driver counts as gone
NAME = re.compile(r"[A-Za-z0-9][\w.\-]*", re.ASCII)
REQUESTS = ("stop", "extend", "enqueue", "learn")

encode = json.JSONEncoder(separators=(",", ":")).encode
decode = json.JSONDecoder().decode


class Superseded(Exception):  # noqa: N818 - the name says what happened to the driver
    """Another driver has taken the search over: stop the workers, and write nothing more."""


class FullError(UserError):
    """The disk takes no more; `written` says that it took, for the last time, what it was just given."""

    def __init__(self, message: str, written: bool = False) -> None:
        super().__init__(message)
        self.written = written


@final
@dataclass(frozen=True, slots=True)
class Header:
    """A search without its entries. `heartbeat` is when its driver was last heard, in seconds since 1970.

    `state` is created, running, interrupted, stopped, finished or failed; running is what the last driver said, and
    `driven` whether there still is one.
    """

    search: str
    created: float
    job: Mapping[str, Json]
    versions: Mapping[str, str]
    schema: int
    state: str = "created"
    reason: str = ""
    epoch: int = 0
    driver: Process | None = None
    heartbeat: float = 0.0

    @property
    def driver_host(self) -> str:
        """Where the last driver ran; empty where there was none."""
        return self.driver.host if self.driver else ""

    @property
    def driver_pid(self) -> int:
        """Its number there; 0 where there was none."""
        return self.driver.pid if self.driver else 0

    def driven(self, now: float | None = None) -> bool:
        """Whether a driver may be at work: it has not let go, is not provably dead and was heard of lately."""
        if self.state != "running" or self.driver is None or self.driver.gone():
            return False
        return (time.time() if now is None else now) - self.heartbeat < STALE


@final
@dataclass(frozen=True, slots=True)
class Snapshot:
    """What somebody worked out from the entries up to `sequence`; may be thrown away, and worked out again.

    `release` says which code wrote it: another one's is not read. `content` is that code's own affair, never a pickle.
    """

    name: str
    sequence: int
    release: str
    content: bytes


def check_name(search: str) -> None:
    """Refuse a name that could not be a folder's, or an option's on the command line."""
    if not NAME.fullmatch(search):
        raise UserError(
            f"{search!r} is no name for a search: letters, digits, '-', '_' and '.', beginning with a letter or a digit"
        )


def durable(job: Mapping[str, Json]) -> bool:
    """Whether the job asks for `durability: full` of its journal: every commit survives a loss of power, too."""
    journal = job.get("journal")
    return isinstance(journal, Mapping) and journal.get("durability") == "full"


def refuse(header: Header) -> UserError:
    """What a second driver is told."""
    return UserError(
        f"{header.search} is being run by process {header.driver_pid} on {header.driver_host}, last heard "
        f"{max(0.0, time.time() - header.heartbeat):.0f} s ago, and a search has one driver: `nas stop {header.search}`"
        f" ends that one, `nas resume {header.search} --force` takes over from it"
    )


class Log(ABC):
    """Searches, each an ordered, append-only list of entries with a header.

    One driver at a time holds a search, by an epoch that grows whenever another takes over; all may read, and
    `request`. What `append` was given is there altogether, in order, or not at all. Errors of the disk or the server
    are `UserError`.
    """

    folder: Path | None = None  # where files can lie beside the journals, if they are files themselves

    @abstractmethod
    def create(self, search: str, job: Json, versions: Mapping[str, str]) -> None:
        """Begin a search; UserError where the name is taken."""

    @abstractmethod
    def searches(self) -> list[Header]:
        """Every search, the oldest first."""

    @abstractmethod
    def header(self, search: str) -> Header:
        """One search; NotFoundError, with the nearest name, where there is none."""

    @abstractmethod
    def entries(self, search: str, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Entry]:
        """The entries behind `after`, in order: none is ever inserted before one that was read."""

    def check(self, search: str, force: bool = False) -> None:
        """Raise DamagedError where what is stored was spoiled, once what can be read of it is salvaged.

        With `force` go on with what was salvaged. `acquire` checks too; who reads before it, checks before that.
        """

    def findings(self, search: str) -> list[str]:
        """What of a search is not as it was written, every entry looked at and nothing changed; empty where all is."""
        return []

    @abstractmethod
    def acquire(self, search: str, force: bool = False) -> int:
        """Become the driver: the new epoch. UserError where another may be at work, unless `force`."""

    @abstractmethod
    def append(self, search: str, epoch: int, entries: Sequence[Entry]) -> int:
        """Write `entries` in one transaction: the sequence of the last. Superseded where the epoch has passed."""

    @abstractmethod
    def heartbeat(self, search: str, epoch: int) -> None:
        """Say that the driver is alive; from any thread. Superseded where the epoch has passed."""

    @abstractmethod
    def release(self, search: str, epoch: int, state: str, reason: str = "") -> None:
        """Let the search go, and say how it stands. Superseded where the epoch has passed."""

    @abstractmethod
    def request(self, search: str, kind: str, body: Mapping[str, Json]) -> int:
        """Ask something of the driver, present or next (one of `REQUESTS`): the entry's sequence."""

    @abstractmethod
    def snapshot(self, search: str, name: str) -> Snapshot | None:
        """The snapshot that was kept last under `name`; None where there is none, or it is damaged."""

    @abstractmethod
    def keep(self, search: str, epoch: int, snapshot: Snapshot) -> None:
        """Put `snapshot` in the place of the one of its name. Superseded where the epoch has passed."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open. May be called twice."""


def request_body(kind: str, body: Mapping[str, Json]) -> dict[str, Json]:
    """The body of a request's entry."""
    if kind not in REQUESTS:
        raise UserError(f"{kind!r} is no request: there are {', '.join(REQUESTS)}")
    return {**body, "kind": kind}
