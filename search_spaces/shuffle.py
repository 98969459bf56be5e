"""Shuffle: the numbers below a size in random order, each computed from its place."""

from __future__ import annotations

from hashlib import blake2b
from random import Random
from typing import final

FEW = 1024  # that many are shuffled in a list: a Feistel network of few bits reaches only some of the orders
ROUNDS = 4  # enough for a pseudo-random permutation (Luby and Rackoff 1988, doi:10.1137/0217022)


@final
class Shuffle:
    """A permutation of `range(size)` that a seed names; of many numbers none is kept in a list, so `size` may be huge.

    A Feistel network permutes the numbers of just enough bits; a place that it sends outside is sent on until it comes
    back (fewer than four times on average).
    """

    def __init__(self, size: int, seed: int | str) -> None:
        self.size = size
        self._list = list(range(size)) if size <= FEW else []
        Random(seed).shuffle(self._list)
        self._half = ((size - 1).bit_length() + 1) // 2
        self._keys = [blake2b(f"{seed}/{number}".encode(), digest_size=32).digest() for number in range(ROUNDS)]

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < self.size:
            raise IndexError(f"{place} is no place among {self.size:,}")
        if self._list:
            return self._list[place]
        found = self._permuted(place)
        while found >= self.size:
            found = self._permuted(found)
        return found

    def _permuted(self, number: int) -> int:
        mask = (1 << self._half) - 1
        left, right = number >> self._half, number & mask
        for key in self._keys:
            left, right = right, left ^ (self._hashed(right, key) & mask)
        return left << self._half | right

    def _hashed(self, number: int, key: bytes) -> int:
        """At least as many random bits as half a number has; BLAKE2 gives 512 at a time."""
        message = number.to_bytes((self._half + 7) // 8, "big")
        blocks = range(0, self._half, 512)
        return int.from_bytes(
            b"".join(blake2b(message, key=key, salt=str(at).encode()).digest() for at in blocks), "big"
        )
