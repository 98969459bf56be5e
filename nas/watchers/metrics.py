"""Metrics of a search for Prometheus, served by its driver."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Final, final

from nas.history import History
from nas.metrics.access import Access, guard
from nas.metrics.discovery import Discovery, Target
from nas.metrics.readings import Readings
from nas.metrics.server import MetricsServer
from nas.metrics.stores import Stores
from nas.watcher import Watched, Watcher
from workers.errors import UserError
from workers.pool import Pool
from workers.trial import Json

LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = ("0.0.0.0", "::", "")
ROOT: Final = "/metrics"
SHARDS: Final = "/shards/"  # and the store's name, and the shard's number
DIGITS: Final = 6  # of a shard's number
PAUSE: Final = 1.0  # seconds between looks for stores
LAST: Final = 8.0  # seconds that a driver stays for its last scrapes; podmonitor.yaml has one every 5


@final
class MetricsWatcher(Watcher):
    """Serves `/metrics` of the driver, and `/shards/STORE/NUMBER` of each shard of its parameter servers.

    At `host` (loopback) and `port` (0: one that the system chooses); a file in `<home>/prometheus` tells Prometheus
    which. A host that other machines reach needs `token`, a file with the bearer token of scrapes, and the PEM files
    `certificate` and `key`. Who finds a driver by a `port` that the job names, and not by the file, would not see that
    it ends: it stays for 8 seconds more, so that its last state is scraped, but not where nobody scrapes. Values are
    read when they are scraped: a turn that nobody asks in costs a microsecond.
    """

    def __init__(
        self,
        watched: Watched,
        host: str = LOOPBACK,
        port: int = 0,
        token: str | None = None,
        certificate: str | None = None,
        key: str | None = None,
    ) -> None:
        guard(host, token, certificate, key)
        files = [None if path is None else watched.beside(path) for path in (token, certificate, key)]
        self._access = Access.of(*files)
        self._readings = Readings(watched)
        self._stores = Stores(watched.search, watched.folder)
        self._discovery = Discovery(watched.home, watched.search)
        self._announced: Mapping[str, int] | None = None
        self._due = 0.0
        self._stays = port != 0
        self._server = MetricsServer(host, port, self._access, self._page)
        self._host = socket.getfqdn() if host in EVERYWHERE else host

    @classmethod
    def check(cls, options: Mapping[str, Json]) -> None:
        guard(options.get("host", LOOPBACK), *(options.get(name) for name in ("token", "certificate", "key")))

    @property
    def address(self) -> str:
        """Where metrics are: scheme, host and port."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{self._access.scheme}://{host}:{self._server.port}"

    def turn(self, history: History, pool: Pool) -> None:
        self._readings.turn(history, pool)
        if (now := time.monotonic()) >= self._due:
            self._due = now + PAUSE
            self._announce()

    def end(self, history: History, state: str, reason: str) -> None:
        self._readings.look(history, None, state)
        if self._stays:
            self._server.linger(ROOT, LAST)

    def close(self) -> None:
        self._discovery.remove()
        self._server.close()
        self._stores.close()

    def _announce(self) -> None:
        """Tell Prometheus where to look, again when a store has come up, and that the driver lives."""
        found = self._stores.found()
        if found == self._announced and self._discovery.beat():
            return
        try:
            self._discovery.write(self._targets(found))
        except OSError as error:
            raise UserError(
                f"{self._discovery.path} cannot be written ({error.strerror}), by which Prometheus finds metrics: "
                "make that possible, or say watch: [] in the job"
            ) from None
        self._announced = self._readings.stores = found

    def _targets(self, stores: Mapping[str, int]) -> list[Target]:
        search, scheme = self._readings.search, self._access.scheme
        address = self.address.partition("://")[2]
        shards = [(name, number) for name, count in stores.items() for number in range(count)]
        return [
            Target(address, ROOT, scheme, "driver", search, search),
            *(
                Target(address, f"{SHARDS}{name}/{number}", scheme, "shard", search, f"{search}/{name}/{number}")
                for name, number in shards
            ),
        ]

    def _page(self, path: str) -> bytes | None:
        """What stands under a path; Prometheus's library is imported when somebody asks for the first time."""
        from nas.metrics.exposition import of_driver

        if path == ROOT:
            return of_driver(self._readings)
        name, _, number = path.removeprefix(SHARDS).partition("/")
        if not path.startswith(SHARDS) or not number.isdecimal() or len(number) > DIGITS:
            return None
        try:
            return self._stores.page(name, int(number))
        except KeyError:
            return None
