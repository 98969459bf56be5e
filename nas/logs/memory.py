"""MemoryLog: a log that lives and dies with its process, for searches in virtual time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import final

from nas.history import Entry
from nas.log import Header, Log, Snapshot, Superseded, check_name, refuse, request_body
from nas.process import Process
from workers.errors import NotFoundError, UserError
from workers.trial import Json


@final
class MemoryLog(Log):
    """Keeps every entry as the object it is; times are what the entries say, 0 where the log writes one itself."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._headers: dict[str, Header] = {}
        self._entries: dict[str, list[Entry]] = {}
        self._snapshots: dict[tuple[str, str], Snapshot] = {}

    def create(self, search: str, job: Json, versions: Mapping[str, str]) -> None:
        check_name(search)
        with self._lock:
            if search in self._headers:
                raise UserError(f"there is a search {search} already: choose another name")
            self._headers[search] = Header(search, 0.0, job, versions, 0)
            self._entries[search] = []

    def searches(self) -> list[Header]:
        with self._lock:
            return list(self._headers.values())

    def header(self, search: str) -> Header:
        if search not in self._headers:
            raise NotFoundError(f"there is no search {search} in this process")
        return self._headers[search]

    def entries(self, search: str, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Entry]:
        self.header(search)
        for entry in self._entries[search][after:]:
            if kinds is None or entry.kind in kinds:
                yield entry

    def acquire(self, search: str, force: bool = False) -> int:
        with self._lock:
            header = self.header(search)
            if header.state == "running" and not force:
                raise refuse(header)
            epoch, here = header.epoch + 1, Process.here()
            self._headers[search] = replace(header, state="running", reason="", epoch=epoch, driver=here)
            self._write(search, "driver", {"epoch": epoch, "host": here.host, "pid": here.pid, "versions": {}})
        return epoch

    def append(self, search: str, epoch: int, entries: Sequence[Entry]) -> int:
        with self._lock:
            self._fence(search, epoch)
            kept = self._entries[search]
            kept += [replace(entry, sequence=number) for number, entry in enumerate(entries, len(kept) + 1)]
            return len(kept)

    def heartbeat(self, search: str, epoch: int) -> None:
        with self._lock:
            self._fence(search, epoch)

    def release(self, search: str, epoch: int, state: str, reason: str = "") -> None:
        with self._lock:
            self._fence(search, epoch)
            self._headers[search] = replace(self.header(search), state=state, reason=reason)
            self._write(search, "state", {"state": state, "reason": reason})

    def request(self, search: str, kind: str, body: Mapping[str, Json]) -> int:
        with self._lock:
            self.header(search)
            return self._write(search, "request", request_body(kind, body))

    def snapshot(self, search: str, name: str) -> Snapshot | None:
        return self._snapshots.get((search, name))

    def keep(self, search: str, epoch: int, snapshot: Snapshot) -> None:
        with self._lock:
            self._fence(search, epoch)
            self._snapshots[search, snapshot.name] = snapshot

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, search: str, kind: str, body: Mapping[str, Json]) -> int:
        kept = self._entries[search]
        kept.append(Entry(len(kept) + 1, 0.0, kind, None, body))
        return len(kept)

    def _fence(self, search: str, epoch: int) -> None:
        if (now := self.header(search).epoch) != epoch:
            raise Superseded(f"driver {now} has taken {search} over from driver {epoch}")
