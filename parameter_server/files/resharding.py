"""Resharding: the state of some shards, dealt out to another number of them; numbers, steps and what was counted stay.

Shards count pushes by themselves, so a push may be counted on one and not on another. Pieces take with them the ledger
that they were counted in: sent again, such a push is applied to the pieces that lack it, and only to these. Ledgers
that say the same are one from then on. A piece is never put together from elements of different ledgers or steps.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from parameter_server.clients.claim import SEAL, Claim, claim_piece, claims, is_claim, mark
from parameter_server.files.snapshot import Image
from parameter_server.piece import Piece, Whole, cut, dealt
from parameter_server.shards.book import Book
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.shards.memory import Buffers

Ledger: TypeAlias = dict[str, Any]  # rows of clients by name

_EMPTY: NDArray[np.float32] = np.empty(0, np.float32)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Some elements of a tensor with all that belongs to them; `ledger` is a place among those of all shards."""

    piece: Piece
    buffers: Buffers
    steps: int
    ledger: int


def resharded(images: Sequence[Image], shards: int) -> list[Image]:
    """The same tensors on another number of shards (or the same), which have taken as many updates as any had."""
    books = [image.read_book() for image in images]
    ledgers, numbers = _ledgers(books)
    tensors = stretches(images, books, numbers)
    pieces = [(piece, of) for of in tensors.values() for piece in _cut(of, tensors, shards)]
    owners = dealt([piece for piece, _ in pieces], [0] * shards)
    results = []
    for number in range(shards):
        own = [_joined(piece, of) for (piece, of), owner in zip(pieces, owners, strict=True) if owner == number]
        if number == 0:
            own += [_sealed(name, of[0]) for name, of in tensors.items()]
        book = _book(own, books, ledgers)
        buffers = tuple(stretch.buffers for stretch in own)
        owned = tuple(stretch.piece for stretch in own)
        results.append(Image(number, shards, images[0].policy, owned, buffers, book.buffer))
    return results


def stretches(
    images: Sequence[Image], books: Sequence[Book], numbers: dict[tuple[int, int], int]
) -> dict[str, list[Stretch]]:
    """The tensors whose creation has ended, in order of their elements; `numbers` of ledgers by shard and ledger."""
    complete = {name: mark(claim.creation) for name, claim in claims(images[0].pieces).items() if claim.sealed}
    found: dict[str, list[Stretch]] = {name: [] for name in complete}
    for shard, (image, book) in enumerate(zip(images, books, strict=True)):
        for place, (piece, buffers) in enumerate(zip(image.pieces, image.buffers, strict=True)):
            if not is_claim(piece) and complete.get(piece.name) == piece.mark:
                row = book.pieces[place]
                ledger = numbers.get((shard, int(row["ledger"])), 0)
                found[piece.name].append(Stretch(piece, buffers, int(row["steps"]), ledger))
    for name, of in found.items():
        of.sort(key=lambda stretch: (stretch.piece.start, stretch.piece.stop))
        edges = [0, *(stretch.piece.stop for stretch in of)]
        if not of or edges != [*(stretch.piece.start for stretch in of), math.prod(of[0].piece.shape)]:
            raise StoreError(f"pieces of {name} are missing in the checkpoint: take an earlier one")
    return found


def _ledgers(books: Sequence[Book]) -> tuple[list[Ledger], dict[tuple[int, int], int]]:
    """The ledgers of all shards, those that say the same once; and which one each shard's is."""
    ledgers: list[Ledger] = []
    numbers: dict[tuple[int, int], int] = {}
    by_content: dict[tuple[Any, ...], int] = {}
    for shard, book in enumerate(books):
        for number in book.ledgers:
            rows = {name: book.clients[place].copy() for (of, name), place in book.rows.items() if of == number}
            content = tuple(
                sorted(
                    (name, int(row["highest"]), int(row["mask"])) for name, row in rows.items() if row["highest"] >= 0
                )
            )
            numbers[shard, number] = by_content.setdefault(content, len(ledgers))
            if numbers[shard, number] == len(ledgers):
                ledgers.append(rows)
            else:
                _merge(ledgers[numbers[shard, number]], rows)
    return ledgers, numbers


def _merge(ledger: Ledger, rows: Ledger) -> None:
    """Keep of two ledgers that have counted the same the later versions and clocks."""
    for name, row in rows.items():
        known: Any = ledger.setdefault(name, row)
        known["clock"] = max(known["clock"], row["clock"])
        known["versions"] = np.maximum(known["versions"], row["versions"])


def _cut(of: Sequence[Stretch], tensors: dict[str, list[Stretch]], shards: int) -> Iterable[Piece]:
    """New pieces of a tensor: as if it was created now, and cut where ledgers or steps change."""
    first = of[0].piece
    total = sum(math.prod(one[0].piece.shape) * one[0].buffers[0].itemsize for one in tensors.values())
    fresh = cut([Whole(first.name, first.shape, first.dtype)], shards, total)
    edges = {piece.start for piece in fresh}
    edges |= {
        after.piece.start for before, after in pairwise(of)
        if (before.ledger, before.steps) != (after.ledger, after.steps)
    }  # fmt: skip
    ends = [*sorted(edges), fresh[-1].stop]
    for start, stop in pairwise(ends):
        yield Piece(first.name, first.shape, first.dtype, start, stop)


def _joined(piece: Piece, of: Sequence[Stretch]) -> Stretch:
    """The stretch of a piece, from those of its tensor that it overlaps."""
    place = max(bisect_right([stretch.piece.start for stretch in of], piece.start) - 1, 0)
    parts: list[Buffers] = []
    for stretch in of[place:]:
        first, stop = stretch.piece.start, min(piece.stop, stretch.piece.stop)
        if parts and first >= stop:
            break
        start = max(piece.start, first)
        parts.append(tuple(buffer[start - first : stop - first] for buffer in stretch.buffers))
    buffers = parts[0] if len(parts) == 1 else tuple(np.concatenate(one) for one in zip(*parts, strict=True))
    return Stretch(piece, buffers, of[place].steps, of[place].ledger)


def _sealed(name: str, first: Stretch) -> Stretch:
    """The piece on shard 0 that says that a tensor is complete."""
    return Stretch(claim_piece(name, Claim(1, SEAL)), (_EMPTY,) * len(first.buffers), 0, 0)


def _book(own: Sequence[Stretch], books: Sequence[Book], ledgers: Sequence[Ledger]) -> Book:
    """The book of a new shard: the highest of all that only grows, and the ledgers of its pieces."""
    used = sorted({0, *(stretch.ledger for stretch in own)})
    everyone = _everyone(books)
    book = Book.empty(len(own), max(16, 2 * len(everyone) * len(used)))
    for field in ("version", "incarnation", "epoch", "round", "table"):
        book.header[field] = max(int(one.header[field][0]) for one in books)
    book.header["table"] += 1
    book.pieces["changed"] = book.header["version"][0]
    book.pieces["steps"] = [stretch.steps for stretch in own]
    book.pieces["ledger"] = [stretch.ledger for stretch in own]
    for ledger in used:
        for name, (attempt, clock) in everyone.items():
            row, known = book.client(ledger, name), ledgers[ledger].get(name)
            if known is not None:
                row["highest"], row["mask"], row["versions"] = known["highest"], known["mask"], known["versions"]
            row["attempt"], row["clock"] = attempt, clock
    book.reread()
    book.seal()
    return book


def _everyone(books: Sequence[Book]) -> dict[str, tuple[int, int]]:
    """The highest attempt and clock of each client."""
    highest: dict[str, tuple[int, int]] = {}
    for book in books:
        for (_, name), place in book.rows.items():
            row, (attempt, clock) = book.clients[place], highest.get(name, (0, 0))
            highest[name] = (max(attempt, int(row["attempt"])), max(clock, int(row["clock"])))
    return highest
