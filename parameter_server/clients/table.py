"""Table: which shard holds which piece of which tensor, as the shards themselves say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from parameter_server.clients.claim import Claim, claims, is_claim, mark
from parameter_server.piece import Piece
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parameter_server.link import Welcome
    from parameter_server.policy import Policy

SHOWN = 8  # names in a message


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor, and where its pieces are: shard and piece, in the order of the elements."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    places: tuple[tuple[int, Piece], ...]

    @property
    def size(self) -> int:
        """In elements."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The tensors that are complete. `versions` has the version of each shard's pieces, `loads` its bytes.

    `broken` names tensors of which pieces are missing although their creation has ended: they are being created while
    the shards are asked, or a shard has lost them.
    """

    policy: Policy
    versions: tuple[int, ...]
    entries: Mapping[str, Entry]
    claims: Mapping[str, Claim]
    loads: tuple[int, ...]
    broken: tuple[str, ...]

    @classmethod
    def of(cls, welcomes: Sequence[Welcome]) -> Table:
        """What all shards say, in order; raises `StoreError` where they are not the shards of one store."""
        for number, welcome in enumerate(welcomes):
            if (welcome.shard, welcome.shards) != (number, len(welcomes)):
                raise StoreError(
                    f"link {number} of {len(welcomes)} leads to shard {welcome.shard} of {welcome.shards}: "
                    "give the links to all shards of one store, in order"
                )
            if welcome.policy != welcomes[0].policy:
                raise StoreError(f"shard {number} has another policy than shard 0: they are not of one store")
        claimed = claims(welcomes[0].pieces)
        entries, broken = {}, []
        for name, places in _placed(welcomes, claimed).items():
            if _whole([piece for _, piece in places]):
                piece = places[0][1]
                entries[name] = Entry(name, piece.shape, np.dtype(piece.dtype), tuple(places))
            else:
                broken.append(name)
        loads = tuple(sum(piece.bytes for piece in welcome.pieces) for welcome in welcomes)
        versions = tuple(welcome.table for welcome in welcomes)
        return cls(welcomes[0].policy, versions, entries, claimed, loads, tuple(broken))

    def unknown(self, names: Iterable[str]) -> str | None:
        """The first of these names that there is no tensor for."""
        return next((name for name in names if name not in self.entries), None)

    def missing(self, name: str) -> str:
        """For people: that there is no such tensor."""
        there = ", ".join(list(self.entries)[:SHOWN]) or "none"
        return f"there is no tensor {name!r}: create it first; there are {there}"


def _placed(welcomes: Sequence[Welcome], claimed: Mapping[str, Claim]) -> dict[str, list[tuple[int, Piece]]]:
    """The pieces of the creation that counts of each tensor, in the order of its elements."""
    wanted = {name: mark(claim.creation) for name, claim in claimed.items() if claim.sealed}
    placed: dict[str, list[tuple[int, Piece]]] = {name: [] for name in wanted}
    for welcome in welcomes:
        for piece in welcome.pieces:
            if not is_claim(piece) and wanted.get(piece.name) == piece.mark:
                placed[piece.name].append((welcome.shard, piece))
    for places in placed.values():
        places.sort(key=lambda place: (place[1].start, place[1].stop))
    return placed


def _whole(pieces: Sequence[Piece]) -> bool:
    """Whether pieces in order are all of one tensor, each element once."""
    if not pieces:
        return False
    edges = [0, *(piece.stop for piece in pieces)]
    starts = [*(piece.start for piece in pieces), math.prod(pieces[0].shape)]
    alike = all((piece.shape, piece.dtype) == (pieces[0].shape, pieces[0].dtype) for piece in pieces)
    return alike and edges == starts
