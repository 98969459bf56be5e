"""Stores: the parameter servers of a search, found in its folder, each shard of them asked when it is scraped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final, final

from nas.metrics.catalogue import STORES
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from parameter_server.clients.client import ShardedStore
    from parameter_server.statistics import Statistics

PATIENCE: Final = 2.0  # seconds for a shard to answer


@final
class Stores:
    """The stores that a search may have in `folder`, by their names there."""

    def __init__(self, search: str, folder: Path) -> None:
        self.search = search
        self._folder = folder
        self._open: dict[tuple[str, int], ShardedStore] = {}  # a connection of its own for each shard
        self._locks: dict[tuple[str, int], Lock] = {}
        self._shards: dict[str, int] = {}

    def found(self) -> Mapping[str, int]:
        """How many shards each store has that has run."""
        for name in STORES:
            if name not in self._shards and (self._folder / name).is_dir():
                from parameter_server.processes.folder import Folder

                with suppress(StoreError, OSError, ValueError):
                    if (address := Folder(self._folder / name).read_address()) is not None:
                        self._shards[name] = address.shards
        return dict(self._shards)

    def page(self, name: str, shard: int) -> bytes:
        """What a scrape of one shard is answered, however many others hang; `KeyError` where there is no such shard."""
        from nas.metrics.exposition import of_shard

        if not 0 <= shard < self.found()[name]:
            raise KeyError(shard)
        with self._locks.setdefault((name, shard), Lock()):
            return of_shard(self.search, name, shard, self._statistics(name, shard))

    def _statistics(self, name: str, shard: int) -> Sequence[Statistics]:
        """What a shard has counted; nothing where it does not answer, and another connection the next time."""
        one = name, shard
        try:
            if one not in self._open:
                from parameter_server.opened import connect

                self._open[one] = connect(self._folder / name, patience=PATIENCE)
            return [self._open[one].links[shard].statistics()]
        except (StoreError, OSError):
            if (store := self._open.pop(one, None)) is not None:
                store.close()
            return []

    def close(self) -> None:
        """Let go of the connections."""
        for one in list(self._open):
            with self._locks[one]:
                if (store := self._open.pop(one, None)) is not None:
                    store.close()
