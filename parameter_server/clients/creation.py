"""Creation: bringing new tensors to all shards of a store, so that the first creator wins and nobody sees a mixture."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, final

import numpy as np

from parameter_server.clients.claim import OWNERS, RELEASED, SEAL, Claim, claim_piece, mark
from parameter_server.clients.crew import Crew
from parameter_server.clients.table import Table
from parameter_server.link import Link
from parameter_server.outcome import Outcome
from parameter_server.piece import ITEM_SIZES, Piece, Whole, cut, dealt
from parameter_server.store import StoreError, UnreachableError

if TYPE_CHECKING:
    from parameter_server.store import Array, Tensors

_EMPTY: Any = np.empty(0, np.float32)
_LONGEST_NAP = 0.25  # seconds between looks at a creation of somebody else


@final
@dataclass(frozen=True, slots=True)
class Ground:
    """Where a creation takes place; `fetch` asks all shards for the table.

    A creator that does not end within `takeover` seconds is taken to be dead.
    """

    links: Sequence[Link]
    crew: Crew
    fetch: Callable[[], Table]
    takeover: float
    patience: float


def checked(tensors: Tensors) -> dict[str, Array]:
    """Tensors that can be created, laid out in rows; raises `StoreError`."""
    arrays = {}
    for name, tensor in tensors.items():
        array = np.asarray(tensor)
        if not isinstance(name, str) or not name or "\0" in name:
            raise StoreError(f"a tensor is called {name!r}, but must have a name of letters", Outcome.UNKNOWN_NAME)
        if array.dtype.name not in ITEM_SIZES or not array.dtype.isnative:
            raise StoreError(f"{name} is {array.dtype}, but tensors are float32 or float64: convert it",
                             Outcome.WRONG_DTYPE)  # fmt: skip
        if not np.isfinite(array).all():
            raise StoreError(f"{name} is not finite: a tensor begins with numbers", Outcome.NOT_FINITE)
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    return arrays


@final
class Creation:
    """One call of `create`; it has a number of its own, by which it knows its claims."""

    def __init__(self, ground: Ground, tensors: Tensors) -> None:
        self._ground = ground
        self._arrays = checked(tensors)
        self._owner = OWNERS + secrets.randbits(61)
        self._since: dict[str, tuple[Claim | None, float]] = {}  # when the last claim of a name was first seen

    def run(self) -> tuple[str, ...]:
        """Create what nobody else has, wait for what somebody else is creating, and give the names of the former."""
        created: set[str] = set()
        pending = list(self._arrays)
        deadline = monotonic() + self._ground.patience
        nap = 0.002
        while pending:
            table = self._ground.fetch()
            ended = [name for name in pending if name in table.claims and table.claims[name].sealed]
            pending = [name for name in pending if name not in ended]
            mine = {name: table.claims[name] for name in pending if self._is_mine(table, name)}
            free = [name for name in pending if name not in mine and self._is_free(table, name)]
            if mine:
                created.update(self._bring(table, mine))
            elif free:
                self._claim([(name, _following(table, name, self._owner)) for name in free])
            elif pending:
                if monotonic() > deadline:
                    raise UnreachableError(f"{pending[0]} is being created by others for {self._ground.patience:g} s")
                sleep(nap)
                nap = min(2 * nap, _LONGEST_NAP)
        return tuple(name for name in self._arrays if name in created)

    def _is_mine(self, table: Table, name: str) -> bool:
        return name in table.claims and table.claims[name].owner == self._owner

    def _is_free(self, table: Table, name: str) -> bool:
        """Whether there is no claim, or one that was given up, or whose owner must be dead."""
        claim = table.claims.get(name)
        seen, since = self._since.get(name, (None, 0.0))
        if claim != seen:
            seen, since = self._since[name] = (claim, monotonic())
        return claim is None or claim.owner == RELEASED or monotonic() - since > self._ground.takeover

    def _claim(self, claims: Sequence[tuple[str, Claim]]) -> None:
        pieces = [claim_piece(name, claim) for name, claim in claims]
        self._ground.links[0].create(pieces, [_EMPTY] * len(pieces))

    def _bring(self, table: Table, mine: dict[str, Claim]) -> list[str]:
        """Bring what is claimed, shard 0's pieces last and sealed; gives the names that were still ours by then."""
        try:
            shares = self._shares(table, mine)
            links = self._ground.links
            self._ground.crew.each(range(1, len(links)), lambda shard: _send(links[shard], shares[shard]))
            seals = [(name, Claim(claim.number + 1, SEAL)) for name, claim in mine.items()]
            last = [*shares[0], *((claim_piece(name, seal), _EMPTY) for name, seal in seals)]
            _send(links[0], last)
        except BaseException:
            self._give_up(mine)
            raise
        sealed = self._ground.fetch().claims
        return [name for name, seal in seals if sealed[name] == seal]

    def _shares(self, table: Table, mine: dict[str, Claim]) -> list[list[tuple[Piece, Array]]]:
        """Pieces with their numbers, for each shard."""
        arrays = {name: self._arrays[name] for name in mine}
        wholes = [Whole(name, array.shape, array.dtype.name) for name, array in arrays.items()]
        pieces = [replace(piece, mark=mark(mine[piece.name].number)) for piece in cut(wholes, len(table.loads))]
        shares: list[list[tuple[Piece, Array]]] = [[] for _ in table.loads]
        for piece, shard in zip(pieces, dealt(pieces, table.loads), strict=True):
            shares[shard].append((piece, arrays[piece.name].reshape(-1)[piece.start : piece.stop]))
        return shares

    def _give_up(self, mine: dict[str, Claim]) -> None:
        """Let others go on at once, if shard 0 can still be told."""
        with suppress(Exception):
            self._claim([(name, Claim(claim.number + 1, RELEASED)) for name, claim in mine.items()])


def _following(table: Table, name: str, owner: int) -> Claim:
    claim = table.claims.get(name)
    return Claim(0 if claim is None else claim.number + 1, owner)


def _send(link: Link, share: Sequence[tuple[Piece, Array]]) -> None:
    if share:
        link.create([piece for piece, _ in share], [values for _, values in share])
