"""Pulling: tensors put together from the pieces of several shards, as they were at one moment of each shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, final

import numpy as np

from parameter_server.clients.crew import Crew
from parameter_server.clients.table import Entry
from parameter_server.link import Link, Pulled
from parameter_server.outcome import Outcome
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from parameter_server.store import Array, Tensors, Version

BRIEF: Final = 2**20  # bytes that one thread copies from shared memory in 0.1 ms


@final
class Pulling:
    """One pull of `entries` from `shards`; `into` are arrays of the caller to write to.

    Only what changed is sent where `newer_than` is given. When only some pieces of a tensor changed, the others are
    asked for as well, and then whatever changed meanwhile, until what is there was there at one moment of each shard.
    """

    def __init__(self, links: Sequence[Link], crew: Crew, entries: Sequence[Entry], into: Tensors | None) -> None:
        self._links = links
        self._crew = crew
        self._entries = entries
        self._have: dict[str, Array] = {}
        self._versions: dict[int, int] = {}
        self._keys: dict[int, list[str]] = {}
        self._whole: dict[str, Array] = {}
        self._into: dict[str, Array] = {}
        size = sum(entry.size * entry.dtype.itemsize for entry in entries)
        self._brief = size <= BRIEF and all(link.process is not None for link in links)
        self.table = -1  # version of shard 0's pieces, if it said it
        for entry in entries:
            for shard, piece in entry.places:
                self._keys.setdefault(shard, []).append(piece.key)
            given = None if into is None else into.get(entry.name)
            if given is not None or len(entry.places) > 1:
                self._prepare(entry, given)

    def run(self, shards: Sequence[int], newer_than: Version | None) -> tuple[dict[int, int], dict[str, Array]]:
        """The versions of the shards, and the tensors."""
        since = {shard: None if newer_than is None else newer_than[shard] for shard in shards}
        self._fetch({shard: (self._keys.get(shard, []), since[shard]) for shard in shards})
        if newer_than is not None:
            while missing := self._missing():
                before = dict(self._versions)
                self._fetch({shard: (keys, None) for shard, keys in missing.items()})
                moved = [shard for shard in missing if self._versions[shard] != before[shard]]
                self._fetch({shard: (self._keys[shard], before[shard]) for shard in moved})
        return self._versions, {entry.name: self._assembled(entry) for entry in self._entries if self._has(entry)}

    def _prepare(self, entry: Entry, given: Array | None) -> None:
        """Let pieces of a tensor be written next to each other."""
        if given is not None:
            fits = given.dtype == entry.dtype and given.shape == entry.shape and given.flags.c_contiguous
            if not fits or not given.flags.writeable:
                raise StoreError(
                    f"{entry.name} cannot be written into an array of {given.dtype} with the shape {given.shape}: it "
                    f"must be writable, in C order, {entry.dtype} and have the shape {entry.shape}",
                    Outcome.WRONG_SHAPE,
                )
        whole = np.empty(entry.shape, entry.dtype) if given is None else given
        self._whole[entry.name] = whole
        flat = whole.reshape(-1)
        self._into.update((piece.key, flat[piece.start : piece.stop]) for _, piece in entry.places)

    def _fetch(self, wanted: Mapping[int, tuple[Sequence[str], int | None]]) -> None:
        if not wanted:
            return
        pulls = self._crew.each(list(wanted), lambda shard: self._pull(shard, *wanted[shard]), self._brief)
        for shard, pulled in zip(wanted, pulls, strict=True):
            self._versions[shard] = pulled.version
            self._have.update(pulled.parts)
            if shard == 0:
                self.table = pulled.table

    def _pull(self, shard: int, keys: Sequence[str], newer_than: int | None) -> Pulled:
        if not self._into:
            return self._links[shard].pull(keys, newer_than)
        pulled = self._links[shard].pull(keys, newer_than, self._into)
        for key, part in pulled.parts.items():
            place = self._into.get(key)
            if place is not None and part is not place:
                np.copyto(place, part)
        return pulled

    def _missing(self) -> dict[int, list[str]]:
        """By shard, the pieces that did not come although others of their tensor did."""
        missing: dict[int, list[str]] = {}
        for entry in self._entries:
            if len(entry.places) > 1 and self._has(entry):
                for shard, piece in entry.places:
                    if piece.key not in self._have:
                        missing.setdefault(shard, []).append(piece.key)
        return missing

    def _has(self, entry: Entry) -> bool:
        return any(piece.key in self._have for _, piece in entry.places)

    def _assembled(self, entry: Entry) -> Array:
        if entry.name in self._whole:
            return self._whole[entry.name]
        return self._have[entry.places[0][1].key].reshape(entry.shape)
