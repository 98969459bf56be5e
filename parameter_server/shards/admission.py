"""Admission: what is wrong with a push, before it touches a number; nothing here changes anything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import numpy as np

from parameter_server.link import Part
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.shards.book import Book
from parameter_server.store import PushId

if TYPE_CHECKING:
    from parameter_server.store import Array

LARGEST: Final = 2**62  # of numbers and attempts, so that they can be counted on from


@final
class RefusedError(Exception):
    """A push that is not applied; caught within the shard, which counts it and answers."""

    def __init__(self, outcome: Outcome, reason: str, version: int | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.version = version  # the one that it made before, or None for the present one


def not_finite(piece: Piece) -> RefusedError:
    """What to raise when a gradient is not finite."""
    return RefusedError(
        Outcome.NOT_FINITE, f"the gradient of {piece.name} is not finite: leave out the batch that made it so"
    )


def attempt_of(book: Book, client: str) -> int | None:
    """The highest attempt of a client that said hello; None for one that never did."""
    rows = [book.rows[ledger, client] for ledger in book.ledgers if (ledger, client) in book.rows]
    return max((int(book.clients[row]["attempt"]) for row in rows), default=None)


def check_sender(book: Book, push_id: PushId) -> None:
    """Raise when the push is not of the client's only attempt."""
    if not (0 <= push_id.number < LARGEST and 0 <= push_id.attempt < LARGEST):
        raise RefusedError(
            Outcome.FROM_THE_FUTURE,
            f"push {push_id.number} of attempt {push_id.attempt}: both are numbered from 0 to below 2**62",
        )
    attempt = attempt_of(book, push_id.client)
    if attempt is None or push_id.attempt > attempt:
        raise RefusedError(
            Outcome.UNKNOWN_CLIENT, f"attempt {push_id.attempt} of {push_id.client} is not known here: say hello first"
        )
    if push_id.attempt < attempt:
        raise RefusedError(
            Outcome.FENCED,
            f"attempt {attempt} of {push_id.client} has taken over from attempt {push_id.attempt}: stop it",
        )


def check_heading(book: Book, base: int, table: int, scale: float) -> None:
    """Raise when the push was made for other pieces, from a version that never was, or with a scale that grows."""
    if table != book.header["table"][0]:
        raise RefusedError(
            Outcome.MOVED,
            f"table {table} of pieces is not that of the shard, {book.header['table'][0]}: say hello to fetch it",
        )
    if not 0 <= base <= book.version:
        raise RefusedError(
            Outcome.FROM_THE_FUTURE,
            f"the gradients come from version {base}, but the shard is at {book.version}: "
            "pull first, and push with the version that it gave",
        )
    if not 0 <= scale <= 1:
        raise RefusedError(
            Outcome.NOT_FINITE, f"the gradients are scaled by {scale}: clipping scales by something from 0 to 1"
        )


def check_part(piece: Piece, part: Part) -> None:
    """Raise when a gradient does not look like its piece."""
    values: Array = part.values
    if values.dtype != piece.dtype:  # the name of a type would take 8 microseconds to be put together
        raise RefusedError(
            Outcome.WRONG_DTYPE, f"the gradient of {piece.name} is {values.dtype}, but the tensor is {piece.dtype}"
        )
    size = piece.size if part.rows is None else _check_rows(piece, part.rows)
    if values.size != size:
        raise RefusedError(
            Outcome.WRONG_SHAPE,
            f"the gradient of {part.key} (a piece of {piece.name}, which has the shape {piece.shape}) has "
            f"{values.size} elements, but must have {size}",
        )


def _check_rows(piece: Piece, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> int:
    """How many elements of the piece are in these rows."""
    if rows.dtype.kind not in "iu" or rows.ndim != 1:
        raise RefusedError(Outcome.WRONG_DTYPE, f"the rows of {piece.name} must be integers in a row, not {rows.dtype}")
    if not rows.size:
        return 0
    first, last = int(rows[0]), int(rows[-1])
    row = piece.row
    if (np.diff(rows) <= 0).any() or not (first >= 0 and (first + 1) * row > piece.start and last * row < piece.stop):
        raise RefusedError(
            Outcome.WRONG_SHAPE,
            f"the rows of {piece.name} must ascend, and be in this piece of it, which has the rows from "
            f"{piece.start // max(row, 1)} to before {math.ceil(piece.stop / max(row, 1))}",
        )
    cut = max(piece.start - first * row, 0) + max((last + 1) * row - piece.stop, 0)
    return rows.size * row - cut
