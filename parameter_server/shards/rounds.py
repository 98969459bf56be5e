"""Rounds: the barrier of a synchronous store, and the mean of the gradients that came to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np

from parameter_server.link import Part, Push
from parameter_server.piece import Piece
from parameter_server.policy import Sync
from parameter_server.shards.update import within

if TYPE_CHECKING:
    from parameter_server.store import Array


@final
class Barrier:
    """How many clients a round waits for: `workers`, or all that are present once it is clear that there are fewer."""

    def __init__(self, mode: Sync, lease: float) -> None:
        self._mode = mode
        self._lease = lease
        self._joined: set[str] = set()
        self._first: float | None = None
        self._gathered = False

    def join(self, client: str, now: float) -> None:
        if self._first is None:
            self._first = now
        if not self._gathered:
            self._joined.add(client)
            self._gathered = len(self._joined) >= self._mode.workers

    def waits_for(self, present: int, now: float) -> int:
        """The number of pushes that complete a round."""
        if self._first is not None and now - self._first >= self._lease:
            self._gathered = True
        return max(min(self._mode.workers, present), 1) if self._gathered else self._mode.workers


def averaged(
    pushes: Sequence[Push], ledgers: Sequence[Sequence[int]], pieces: Sequence[tuple[Piece, int]]
) -> list[Part]:
    """The mean of each piece's gradients over all pushes, added in the order in which these are given.

    `pieces` are those that the pushes have gradients for, with their ledgers; a push that was counted on a ledger
    before (it is not among the push's `ledgers`) adds nothing to that ledger's pieces. Who has no gradient for a piece
    counts as zero. Where all that came for a piece are rows, so is the mean.
    """
    parts = []
    for piece, ledger in pieces:
        given = [
            part for push, of in zip(pushes, ledgers, strict=True) if ledger in of for part in _of(push, piece.key)
        ]
        if given:
            total = _rows_added(piece, given) if all(part.rows is not None for part in given) else _added(piece, given)
            np.divide(total.values, len(pushes), out=total.values)
            parts.append(total)
    return parts


def _of(push: Push, key: str) -> list[Part]:
    return [part for part in push.parts if part.key == key]


def _added(piece: Piece, given: Sequence[Part]) -> Part:
    total: Array = np.zeros(piece.size, piece.dtype)
    for part in given:
        if part.rows is None:
            total += part.values
        else:
            total[within(piece, part.rows)] += part.values
    return Part(piece.key, total)


def _rows_added(piece: Piece, given: Sequence[Part]) -> Part:
    rows = np.unique(np.concatenate([part.rows for part in given if part.rows is not None]))
    elements = within(piece, rows)
    total: Array = np.zeros(elements.size, piece.dtype)
    for part in given:
        if part.rows is not None:
            total[np.searchsorted(elements, within(piece, part.rows))] += part.values
    return Part(piece.key, total, rows)


def copied(push: Push) -> Push:
    """The push with its gradients scaled, flat, and its own."""
    with np.errstate(all="ignore"):
        parts = [Part(part.key, (part.values * push.scale).reshape(-1), part.rows) for part in push.parts]
    return Push(push.id, push.base, push.table, parts)
