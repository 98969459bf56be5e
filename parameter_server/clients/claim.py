"""Claim: who creates a tensor, so that the first wins on all shards although they do not know of each other.

Shard 0 keeps a row of claims for each name. It adds a piece only once, so whoever brings claim number n first has
it. A creator claims, brings its pieces to the other shards, and last, in one message, those of shard 0 together with
the next claim, which seals the tensor: only then does anybody see it. When a creator dies, another one takes the next
claim and brings pieces under a mark of their own; the dead one's seal would have the same number, and comes too late
if it comes at all. A seal is thus always followed by the pieces of one creator on every shard, and never by a claim.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from parameter_server.piece import Piece

SEAL: Final = 0  # of a claim's owners: the tensor is complete
RELEASED: Final = 1  # its creator gave up: whoever comes next need not wait
OWNERS: Final = 2  # from here on, whoever creates
_SIGN: Final = "?"


@final
@dataclass(frozen=True, slots=True)
class Claim:
    """The last claim of a name."""

    number: int
    owner: int

    @property
    def sealed(self) -> bool:
        return self.owner == SEAL

    @property
    def creation(self) -> int:
        """The number of the creation that the claim is about."""
        return self.number - 1 if self.sealed else self.number


def claim_piece(name: str, claim: Claim) -> Piece:
    """A claim as a piece without elements; the second number of its shape says whose it is."""
    return Piece(name, (0, claim.owner), "float32", 0, 0, f"{_SIGN}{claim.number}")


def is_claim(piece: Piece) -> bool:
    return piece.mark.startswith(_SIGN)


def mark(creation: int) -> str:
    """The mark of the pieces of a creation."""
    return f"#{creation}" if creation else ""


def claims(pieces: Iterable[Piece]) -> dict[str, Claim]:
    """The last claim of each name among the pieces of shard 0."""
    last: dict[str, Claim] = {}
    for piece in pieces:
        if is_claim(piece):
            number = int(piece.mark.removeprefix(_SIGN))
            if piece.name not in last or last[piece.name].number < number:
                last[piece.name] = Claim(number, piece.shape[1])
    return last
